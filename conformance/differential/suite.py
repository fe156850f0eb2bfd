"""The comparison: every difference is explained in ``differences.yaml``, or the run fails.

One that has vanished, or looks otherwise than it was explained, fails it too.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import yaml

from conformance.differential import nginx
from conformance.differential.case import Case
from conformance.differential.corpus import CORPUS
from conformance.differential.observation import Observation, observe
from conformance.differential.recorder import Recorder
from conformance.outcome import HERE, Check
from conformance.subject import running

SUITE: Final = "differential"
TABLE: Final = HERE / "differential" / "differences.yaml"
ASPECTS: Final = ("answer", "connection", "upstream")
_HEADING: Final = """\
# What differs between nginx and the gateway, by case of the corpus, and of which class it is. Each
# aspect that differs is told as a pair: nginx first, then the gateway. A run fails on any other
# difference, on one that looks otherwise, and on one that is gone.
# After a change that is meant: python -m conformance.differential, then give the new ones a class.
"""


@dataclass(frozen=True, slots=True)
class Explained:
    """The data file: the version that it was written for, classes of differences, and cases."""

    nginx: str
    classes: dict[str, str]
    cases: dict[str, dict[str, Any]]


def write(known: Explained) -> None:
    """Write ``differences.yaml``."""
    text = yaml.safe_dump(asdict(known), width=95, sort_keys=False, allow_unicode=True)
    TABLE.write_text(_HEADING + text, encoding="utf-8")


def explained() -> Explained:
    """Return what ``differences.yaml`` says."""
    return Explained(**yaml.safe_load(TABLE.read_text(encoding="utf-8")))


def checks(only: str = "") -> Iterator[Check]:
    """Compare the cases whose names hold ``only``."""
    version = nginx.version()
    known = explained()
    for case, theirs, ours in asyncio.run(compared(only)):
        found = difference(theirs, ours)
        yield Check(SUITE, case.name, _fault(case, found, known, version), _says(case, known))
    strangers = sorted(known.cases.keys() - {case.name for case in CORPUS})
    if strangers:
        yield Check(SUITE, "table", f"explains what is not in the corpus: {strangers}")


async def compared(only: str = "") -> list[tuple[Case, Observation, Observation]]:
    """Send the corpus both ways; return what became of each case behind nginx and behind us."""
    found = []
    async with (
        Recorder() as behind_nginx,
        Recorder() as behind_us,
        nginx.proxying(behind_nginx.port) as nginx_port,
    ):
        with running("differential", upstream_port=behind_us.port) as subject:
            for case in CORPUS:
                if only in case.name:
                    theirs, ours = await asyncio.gather(
                        observe(case, nginx_port, behind_nginx),
                        observe(case, subject.port, behind_us),
                    )
                    found.append((case, theirs, ours))
    return found


def difference(theirs: Observation, ours: Observation) -> dict[str, list[str]]:
    """Return by aspect what nginx did and what we did, where that differs."""
    first, second = asdict(theirs), asdict(ours)
    return {
        aspect: [first[aspect], second[aspect]]
        for aspect in ASPECTS
        if first[aspect] != second[aspect]
    }


def _fault(case: Case, found: dict[str, list[str]], known: Explained, version: str) -> str:
    entry = known.cases.get(case.name, {})
    expected = {aspect: entry[aspect] for aspect in ASPECTS if aspect in entry}
    if expected == found:
        return "" if not entry or entry.get("class") in known.classes else "its class is unknown"
    lines = [f"nginx {version}; explained for nginx {known.nginx}"]
    for aspect in ASPECTS:
        if expected.get(aspect) != found.get(aspect):
            lines.append(f"{aspect}, explained: {_told(expected.get(aspect))}")
            lines.append(f"{aspect}, found:     {_told(found.get(aspect))}")
    return "\n".join(lines)


def _told(pair: list[str] | None) -> str:
    return "no difference" if pair is None else f"nginx {pair[0]!r}, ours {pair[1]!r}"


def _says(case: Case, known: Explained) -> str:
    entry = known.cases.get(case.name)
    return "same" if entry is None else f"differs: {entry.get('class')}"
