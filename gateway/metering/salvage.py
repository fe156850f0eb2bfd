"""What can be read of a damaged line: a flipped line feed makes one line of two good ones.

Each line begins with a mark that can't stand inside another, for quotes in JSON strings are
escaped. What lies between two marks is believed only if its own checksum is right.

Source: design sections 8 and 13; docs/decisions/0022-a-damaged-journal.md.
"""

import re
from typing import Final

from gateway.metering.journal_format import Line, parse_line

_BEGINNING: Final = re.compile(rb'[RCA][0-9a-f]{8} \["')


def salvage(line: bytes, start: int) -> list[Line]:
    """Return the lines, good and damaged, that a damaged one consists of; they cover all of it.

    Args:
        line: Its bytes; without a line feed at the end it is the last of its file.
        start: Where it begins in the file.
    """
    begins = sorted({0, *(match.start() for match in _BEGINNING.finditer(line))})
    ends = [*begins[1:], len(line)]
    return [_piece(line[begin:end], start + begin) for begin, end in zip(begins, ends, strict=True)]


def _piece(piece: bytes, start: int) -> Line:
    """Return a part as a good line if it is one but for its line feed, which is flipped or gone."""
    for candidate in (piece, piece[:-1] + b"\n", piece + b"\n"):
        kind, payload = parse_line(candidate)
        if kind is not None:
            return Line(start, start + len(piece), kind, payload, candidate == piece)
    return Line(start, start + len(piece), None, piece, is_whole=False)
