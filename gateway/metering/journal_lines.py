"""Reads the lines of a segment, in order, good and damaged.

Apart from ``journal_format`` because this waits for a disk and that is on the way of a request.
Source: design section 8; requirement X6.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.metering.journal_format import Line, parse_line
from gateway.metering.salvage import salvage

CHUNK_BYTES: Final = 256 * 1024
"""Read at once: some hundred records."""


def read_whole_lines(path: Path, start: int, end: int) -> list[bytes]:
    """Return the next lines between two offsets, line feeds included, at least one if there is one.

    What stands before ``end`` without a line feed is the last "line"; a file that is gone has none.

    Args:
        path: A segment.
        start: Where a line begins.
        end: Nothing behind it is looked at.
    """
    if start >= end:
        return []
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return []  # the ledger has all of it: it was deleted since the caller looked
    with file:
        file.seek(start)
        chunk = file.read(min(CHUNK_BYTES, end - start))
        if len(chunk) < end - start and not chunk.endswith(b"\n"):
            chunk += file.readline(end - start - len(chunk))
    *whole, rest = chunk.split(b"\n")
    lines = [line + b"\n" for line in whole]
    return [*lines, rest] if rest else lines


def read_lines(path: Path, start: int, end: int) -> Iterator[Line]:
    """Yield the lines between two offsets; a file that is gone has none.

    What is whole in a damaged line comes as lines of its own.

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
            if kind is None:
                yield from salvage(line, start)
            else:
                yield Line(start, start + len(line), kind, payload)
            start += len(line)
