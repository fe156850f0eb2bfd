"""One file of the journal, while it is written and while it waits to be shipped."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.metering.journal_format import Position

_write: Final = os.write  # compiled, a name of our own is spared a look-up


@dataclass(slots=True)
class Segment:
    """What is known of one file of the journal.

    Attributes:
        written: Bytes in the file.
        end: Bytes that readers may read: less than ``written`` while an fsync is awaited.
        is_sealed: Nothing will be written to it any more.
        unacknowledged: Records in it whose corrections the counter store still owes an answer to.
        is_stray: It is read and shipped, but no part of this journal: its file is left alone.
        crc: CRC-32 of the whole file, of shipped ones that are kept.
        spent_at_micro: Since when it is not needed, by the monotonic clock; negative while it is
            needed.
    """

    number: int
    path: Path
    written: int = 0
    end: int = 0
    is_sealed: bool = False
    unacknowledged: int = 0
    is_stray: bool = False
    crc: int | None = None
    spent_at_micro: int = -1

    @property
    def is_complete(self) -> bool:
        """Whether ``end`` is final. Ask it before reading ``end``: another thread writes."""
        return self.is_sealed and self.end >= self.written

    def is_behind(self, position: Position) -> bool:
        """Return whether all of it lies before a position."""
        return self.is_complete and (self.number, self.end) <= position


class SegmentWriter:
    """The open end of a segment."""

    def __init__(self, segment: Segment, descriptor: int) -> None:
        self.segment = segment
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Append all of ``data``, or raise.

        Raises:
            OSError: not all could be written; ``seal`` cuts off what was.
        """
        count = _write(self._descriptor, data)
        if count != len(data):
            # The kernel takes what fits and tells why only when asked again.
            rest = memoryview(data)[count:]
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self.segment.written += len(data)

    def seal(self) -> None:
        """Write no more to it, and cut off what a failed write left behind.

        A disk that refuses even the cut keeps a line whose request was not answered; this process
        does not read it, the next start can't tell it from the others.

        Raises:
            OSError: the cut failed; the segment is sealed all the same.
        """
        self.segment.is_sealed = True
        os.ftruncate(self._descriptor, self.segment.written)

    def forget_unread(self) -> int:
        """Seal it and cut it back to what readers may read; return how many bytes went.

        Raises:
            OSError: the cut failed; the segment is sealed all the same.
        """
        cut_bytes = self.segment.written - self.segment.end
        self.segment.written = self.segment.end
        self.seal()
        return cut_bytes

    def sync(self) -> None:
        """Force the file to the disk. Blocking. Raises ``OSError``."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file without forcing anything to the disk."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
