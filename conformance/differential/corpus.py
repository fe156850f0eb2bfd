"""The corpus: some hundred raw requests, well-formed, odd and broken."""

from typing import Final

from conformance.differential import corpus_bodies, corpus_heads
from conformance.differential.case import Case

CORPUS: Final[tuple[Case, ...]] = (*corpus_heads.CASES, *corpus_bodies.CASES)
