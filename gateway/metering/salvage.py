"""What can be read of a damaged line: a flipped line feed makes one line of two good ones.

Each line begins with a mark that can't stand inside another, for quotes in JSON strings are
escaped. What lies between two marks is believed only if its own checksum is right.

Source: design sections 8 and 13; docs/decisions/0022-a-damaged-journal.md.
"""

import re
from itertools import islice
from typing import Final

from gateway.metering.journal_format import Line, parse_line

_BEGINNING: Final = re.compile(rb'[RCA][0-9a-f]{8} \["')
_END: Final = re.compile(rb"\]")
_ENDS_MAX: Final = 1000
"""A record has some ten of them, and what a caller names a run adds at most some hundred."""


def salvage(line: bytes, start: int) -> list[Line]:
    """Return the lines, good and damaged, that a damaged one consists of; they cover all of it.

    Args:
        line: Its bytes; without a line feed at the end it is the last of its file.
        start: Where it begins in the file.
    """
    begins = sorted({0, *(match.start() for match in _BEGINNING.finditer(line))})
    ends = [*begins[1:], len(line)]
    return [
        found
        for begin, end in zip(begins, ends, strict=True)
        for found in _pieces(line[begin:end], start + begin)
    ]


def _pieces(piece: bytes, start: int) -> list[Line]:
    """Return a part as a good line if it is one but for its line feed, which is flipped or gone.

    What is behind a good line, and is none, is a damaged line of its own.
    """
    for candidate in (piece, piece[:-1] + b"\n", piece + b"\n"):
        kind, payload = parse_line(candidate)
        if kind is not None:
            return [Line(start, start + len(piece), kind, payload, candidate == piece)]
    for match in islice(_END.finditer(piece), _ENDS_MAX):
        end = match.end()
        kind, payload = parse_line(piece[:end] + b"\n")
        if kind is not None:
            good = Line(start, start + end, kind, payload, is_whole=False)
            rest = Line(start + end, start + len(piece), None, piece[end:], is_whole=False)
            return [good, rest]
    return [Line(start, start + len(piece), None, piece, is_whole=False)]
