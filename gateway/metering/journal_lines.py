"""Reads the lines of a segment, in order, good and damaged.

Apart from ``journal_format`` because this waits for a disk and that is on the way of a request.
Source: design section 8; requirement X6.
"""

from collections.abc import Iterator
from pathlib import Path

from gateway.metering.journal_format import Line, parse_line


def read_lines(path: Path, start: int, end: int) -> Iterator[Line]:
    """Yield the lines between two offsets; a file that is gone has none.

    Args:
        path: A segment.
        start: Where a line begins.
        end: Where to stop: nothing behind it is looked at.
    """
    if start >= end:
        return
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # the ledger has all of it: it was deleted since the caller looked
    with file:
        file.seek(start)
        while start < end:
            line = file.readline(end - start)
            if not line:
                return
            kind, payload = parse_line(line)
            yield Line(start, start + len(line), kind, payload)
            start += len(line)
