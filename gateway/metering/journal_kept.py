"""Shipped segments, kept for a while: a ledger may lose what it had acknowledged.

It is restored from an older copy, or a standby takes over that had not received everything. What is
kept is shipped to it again. It counts against no bound: where room is needed, it goes first.

Source: design sections 8 and 13; docs/decisions/0022-a-damaged-journal.md.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.metering.journal_format import Position, checksum
from gateway.metering.journal_segments import Segment
from gateway.rules.units import MICRO

_log = structlog.get_logger("journal")

_CHUNK_BYTES: Final = 1 << 20


class KeptSegments:
    """The oldest segments of a journal: only a ledger that went back needs them.

    Args:
        clock: Says for how long.
        seconds: They are deleted after this time; 0 keeps none.
        bytes_max: The oldest are deleted beyond this size.

    Attributes:
        segments: Oldest first.
        size_bytes: Of all of them.
    """

    def __init__(self, clock: Clock, *, seconds: float, bytes_max: int) -> None:
        self.segments: deque[Segment] = deque()
        self.size_bytes = 0
        self._clock = clock
        self._keep_micro = int(seconds * MICRO)
        self._bytes_max = bytes_max if self._keep_micro else 0
        self._undeleted = ""

    def load(self, segments: Iterable[Segment]) -> None:
        """Begin with what a folder held; its time begins anew."""
        for segment in segments:
            self._add(segment)

    def add(self, segment: Segment) -> None:
        """Take a segment that is spent. Blocking: it is read."""
        if self._keep_micro:
            try:
                segment.crc = file_crc(segment)
            except OSError as error:
                _log.error("journal.segment_unreadable", error=error.strerror)
        self._add(segment)

    def _add(self, segment: Segment) -> None:
        segment.spent_at_micro = self._clock.monotonic_micro()
        self.segments.append(segment)
        self.size_bytes += segment.written

    def is_due(self, shipped: Position, room_bytes: int) -> bool:
        """Return whether the oldest may and should be deleted.

        Args:
            shipped: What lies behind it is being shipped again.
            room_bytes: How much the bound leaves for what is kept.
        """
        if not self.segments or not self.segments[0].is_behind(shipped):
            return False
        age_micro = self._clock.monotonic_micro() - self.segments[0].spent_at_micro
        return (
            age_micro >= self._keep_micro
            or self.size_bytes > self._bytes_max
            or self.size_bytes > room_bytes
        )

    def take_due(self, shipped: Position, room_bytes: int) -> list[Segment]:
        """Let go of what is due, oldest first; ``delete`` is to follow."""
        taken = []
        while self.is_due(shipped, room_bytes):
            taken.append(self.segments.popleft())
            self.size_bytes -= taken[-1].written
        return taken

    def delete(self, taken: Sequence[Segment]) -> None:
        """Delete the files of what was taken; what can't be deleted is kept still. Blocking."""
        for index, segment in enumerate(taken):
            try:
                segment.path.unlink(missing_ok=True)
            except OSError as error:
                name = segment.path.name
                if name != self._undeleted:  # it is tried again and again
                    _log.error("journal.segment_not_deleted", segment=name, error=error.strerror)
                self._undeleted = name
                self.segments.extendleft(reversed(taken[index:]))
                self.size_bytes += sum(one.written for one in taken[index:])
                return

    def altered(self) -> list[Segment]:
        """Return those whose bytes are not what they were. Blocking: all are read."""
        return [one for one in tuple(self.segments) if not _is_whole(one)]


def _is_whole(segment: Segment) -> bool:
    try:
        return segment.crc is None or file_crc(segment) == segment.crc
    except FileNotFoundError:
        return True  # it was due meanwhile; one that was gone before is named at the start
    except OSError:
        return False


def file_crc(segment: Segment) -> int:
    """Return the CRC-32 of a segment's file. Blocking. Raises ``OSError``."""
    crc = 0
    with segment.path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = checksum(chunk, crc)
    return crc
