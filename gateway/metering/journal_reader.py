"""The journal as those read it who empty it: in a thread, behind the writer.

The writer appends segments and moves their readable ends; this side reads up to there, remembers
what is shipped, and deletes what nobody needs any more. The two share a deque and integers, each of
them changed by one side only, so no lock is needed.

Source: design section 8; requirement X6.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from gateway.metering.journal_folder import JournalFolder, Scan
from gateway.metering.journal_format import (
    ACKNOWLEDGED,
    CORRECTED,
    Line,
    Position,
    decode_record,
    hold_id_of,
    may_be_record,
    parse_line,
)
from gateway.metering.journal_lines import read_lines, read_whole_lines
from gateway.metering.journal_segments import Segment
from gateway.rules.record import Record

_log = structlog.get_logger("journal")


@dataclass(slots=True)
class Unshipped:
    """Records in the order of writing, and the place right behind the last of them.

    Attributes:
        unreadable: Lines among them that hold no record any more, as they are to be set aside.
        count: How many records were written there, unreadable ones included.
    """

    records: list[Record]
    position: Position
    unreadable: list[dict[str, object]] = field(default_factory=list)
    count: int = 0


class JournalReader:
    """What is held, what is shipped, what is still owed.

    Attributes:
        segments: Oldest first; the writer appends, ``free`` takes away.
        unacknowledged: Segment by hold id; changed by the writer's side (the event loop) only.
        shipped: Everything before it is in the ledger.
        bytes_freed: Sum of what ``free`` deleted.
        records_shipped: Sum of what ``mark_carried`` was told.
    """

    def __init__(self, folder: JournalFolder) -> None:
        self._folder = folder
        self.segments: deque[Segment] = deque()
        self.unacknowledged: dict[str, Segment] = {}
        self.shipped = Position(0, 0)
        self.bytes_freed = 0
        self.records_shipped = 0
        self._undeleted = 0

    def load(self, scan: Scan) -> None:
        """Begin with what a folder held."""
        self.segments.extend(scan.segments)
        self.unacknowledged.update(scan.unacknowledged)
        self.shipped = scan.shipped

    def read_unshipped(self, limit: int) -> Unshipped:
        """Return up to ``limit`` of the oldest records that are not marked as shipped."""
        return read_records(tuple(self.segments), self.shipped, limit)

    def read_unacknowledged(self, position: Position, limit: int) -> Unshipped:
        """Return up to ``limit`` records from a position on whose corrections are still owed."""

        def is_owed(kind: bytes, payload: bytes) -> bool:
            return kind == CORRECTED and hold_id_of(payload) in self.unacknowledged

        return read_records(tuple(self.segments), position, limit, is_owed)

    def mark_carried(self, position: Position, count: int) -> None:
        """Learn that the ledger has ``count`` records more, all up to a position."""
        self.records_shipped += count
        self.shipped = position

    @property
    def is_freeable(self) -> bool:
        """Whether ``free`` would find something to delete."""
        return bool(self.segments) and self._is_spent(self.segments[0])

    def free(self) -> None:
        """Delete the oldest segments that are shipped and whose corrections are acknowledged.

        Only ever the oldest: acknowledgements stand behind what they acknowledge.
        """
        while self.segments:
            segment = self.segments[0]
            if not self._is_spent(segment):
                return
            try:
                segment.path.unlink(missing_ok=True)
            except OSError as error:
                if self._undeleted != segment.number:  # it is tried again after each batch
                    self._undeleted = segment.number
                    _log.error(
                        "journal.segment_not_deleted",
                        segment=segment.path.name,
                        error=error.strerror,
                    )
                return
            self.bytes_freed += segment.written
            self.segments.popleft()

    def _is_spent(self, segment: Segment) -> bool:
        return not segment.unacknowledged and segment.is_behind(self.shipped)

    def replay(self) -> Iterator[Record]:
        """Yield every record that is held, shipped or not, oldest first."""
        for _, line in self._lines(Position(0, 0)):
            if line.kind is not None and line.kind != ACKNOWLEDGED:
                with suppress(ValueError):  # whoever ships it says so
                    yield decode_record(line.payload)

    def oldest_unshipped_micro(self) -> int:
        """Return when the oldest record occurred that is not marked as shipped, 0 without any."""
        for _, line in self._lines(self.shipped):
            if line.kind is not None and line.kind != ACKNOWLEDGED:
                with suppress(ValueError):  # whoever ships it says so
                    return decode_record(line.payload).occurred_at_micro
        return 0

    def first_owing(self) -> Position:
        """Return where the oldest correction that is still owed may stand."""
        for segment in tuple(self.segments):
            if segment.unacknowledged:
                return Position(segment.number, 0)
        return Position(0, 0)

    def _lines(self, position: Position) -> Iterable[tuple[Segment, Line]]:
        for segment in tuple(self.segments):
            if segment.number < position.segment:
                continue
            is_complete = segment.is_complete  # asked first: afterwards ``end`` can't grow
            start = position.offset if segment.number == position.segment else 0
            for line in read_lines(segment.path, start, segment.end):
                yield segment, line
            if not is_complete:
                return


def is_record(kind: bytes, _payload: bytes) -> bool:
    """Return whether a line is a record, whatever it owes."""
    return kind != ACKNOWLEDGED


def read_records(
    segments: Iterable[Segment],
    position: Position,
    limit: int,
    is_wanted: Callable[[bytes, bytes], bool] = is_record,
) -> Unshipped:
    """Return up to ``limit`` records from a position on. Blocking.

    Args:
        segments: Oldest first.
        is_wanted: Given kind and payload of a line.

    Raises:
        OSError: the journal can't be read.
    """
    batch = Unshipped([], position)
    for segment in segments:
        if segment.number < position.segment:
            continue
        is_complete = segment.is_complete  # asked first: afterwards ``end`` can't grow
        start = position.offset if segment.number == position.segment else 0
        is_full = _read_segment(batch, segment, start, limit, is_wanted)
        if is_full or not is_complete:
            break
    return batch


def _read_segment(
    batch: Unshipped,
    segment: Segment,
    start: int,
    limit: int,
    is_wanted: Callable[[bytes, bytes], bool],
) -> bool:
    """Add a segment's records to a batch; return whether the batch is full."""
    while lines := read_whole_lines(segment.path, start, segment.end):
        for line in lines:
            end = start + len(line)
            batch.position = Position(segment.number, end)
            kind, payload = parse_line(line)
            if kind is None:
                _log.error("journal.line_skipped", segment=segment.path.name, offset=start)
                _keep_unreadable(batch, "damaged", segment, start, line)
                batch.count += may_be_record(line)
            elif is_wanted(kind, payload):
                try:
                    batch.records.append(decode_record(payload))
                except ValueError as error:
                    _log.error(
                        "journal.record_unreadable", error=str(error), size_bytes=len(payload)
                    )
                    _keep_unreadable(batch, "unreadable", segment, start, payload)
                batch.count += 1
            if len(batch.records) + len(batch.unreadable) >= limit:
                return True
            start = end
    return False


def _keep_unreadable(
    batch: Unshipped, reason: str, segment: Segment, offset: int, line: bytes
) -> None:
    batch.unreadable.append(
        {
            "reason": reason,
            "segment": segment.path.name,
            "offset": offset,
            "line": line.decode("utf-8", "backslashreplace"),
        }
    )
