"""The journal as its readers, which empty it, see it: in a thread, behind the writer.

The writer appends segments and moves their readable ends; this side reads up to there, remembers
what is shipped, and lets go of what is spent. The two share a deque and integers, each of them
changed by one side only; the lock is between the threads of this side.

Source: design section 8; requirement X6.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Lock

import structlog

from gateway.metering.checkpoint import START, Checkpoint, write_checkpoint
from gateway.metering.journal_folder import JournalFolder
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
from gateway.metering.journal_kept import KeptSegments
from gateway.metering.journal_lines import read_lines, read_whole_lines
from gateway.metering.journal_scan import Scan, count_records
from gateway.metering.journal_segments import Segment
from gateway.metering.manifest import Entry, Manifest, entries_of, write_manifest
from gateway.metering.salvage import salvage
from gateway.rules.record import Record

_log = structlog.get_logger("journal")


@dataclass(slots=True)
class Unshipped:
    """Records in the order of writing, and the place right behind the last of them.

    Attributes:
        unreadable: Lines among them that hold no record any more, as they are to be set aside.
        count: How many records were written there, unreadable ones included.
        last_line: The line that ends at the position; empty if nothing was read.
    """

    records: list[Record]
    position: Position
    unreadable: list[dict[str, object]] = field(default_factory=list)
    count: int = 0
    last_line: bytes = b""


class JournalReader:
    """What is held, what is shipped, what is still owed.

    Args:
        folder: Whose segments.
        kept: Where spent ones go.
        bytes_max: Bound of both together, as far as what is kept goes.

    Attributes:
        segments: Oldest first; the writer appends, ``free`` takes away.
        kept: Older ones, which the ledger has.
        unacknowledged: Segment by hold id; changed by the writer's side (the event loop) only.
        shipped: Everything before it is in the ledger.
        bytes_freed: Sum of what ``free`` took away.
        records_shipped: Sum of what ``mark_carried`` was told.
    """

    def __init__(self, folder: JournalFolder, kept: KeptSegments, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._manifest = Manifest("")
        self._unread: dict[int, Entry] = {}
        self._empty: Sequence[Segment] = ()
        self._lock = Lock()  # the shipper's thread and the one that forces to the disk
        self.segments: deque[Segment] = deque()
        self.kept = kept
        self.unacknowledged: dict[str, Segment] = {}
        self.shipped = Position(0, 0)
        self.bytes_freed = 0
        self.records_shipped = 0

    @property
    def journal_id(self) -> str:
        """The folder's."""
        return self._manifest.journal_id

    def load(self, scan: Scan) -> None:
        """Begin with what a folder held."""
        self._manifest.journal_id = scan.journal_id
        self._manifest.is_first = scan.is_first
        self._unread = scan.unread
        self._empty = scan.empty
        self.kept.load(scan.kept)
        self.segments.extend(scan.segments)
        self.unacknowledged.update(scan.unacknowledged)
        self.shipped = scan.shipped

    def begin(self, checkpoint: Checkpoint | None) -> None:
        """Note what there is, once the first segment of this run is begun. Blocking.

        Args:
            checkpoint: What was believed; None to begin a new one.
        """
        newest = self.segments[-1].number
        begun = Checkpoint(START) if checkpoint is None else checkpoint
        begun = replace(begun, journal_id=self.journal_id, newest=newest, newest_end=0)
        if self._manifest.is_first:
            self.note()
            self._manifest.is_first = False
        try:
            write_checkpoint(self._folder.path, begun)
        except OSError as error:
            _log.error("journal.checkpoint_failed", error=error.strerror)
        with self._lock:
            self._note(self._empty)
            for segment in self._empty:
                with suppress(OSError):  # the next start finds it as empty
                    segment.path.unlink(missing_ok=True)
        self._empty = ()
        self.free()

    def note(self) -> None:
        """Bring the manifest up to date. Blocking.

        A disk that is full refuses it: then a missing segment may not be noticed at the next start.
        """
        with self._lock:
            self._note()

    def _note(self, leaving: Sequence[Segment] = ()) -> None:
        """Bring the manifest up to date.

        Args:
            leaving: Files that are deleted next: a kill in between must raise no alarm.
        """
        held = (*self.kept.segments, *self.segments)
        gone = entries_of(leaving, self.shipped)
        self._manifest.entries = {
            **self._unread,
            **{number: replace(entry, is_leaving=True) for number, entry in gone.items()},
            **entries_of(held, self.shipped),
        }
        try:
            write_manifest(self._folder.path, self._manifest)
        except OSError as error:
            _log.error("journal.manifest_not_written", error=error.strerror)

    def go_back(self) -> None:
        """Ship again all that is kept and held. Blocking: it is counted.

        Raises:
            OSError: nothing is changed.
        """
        with self._lock:
            self.records_shipped -= sum(
                count_records(one, START, self.shipped)
                for one in (*self.kept.segments, *self.segments)
            )
            self.shipped = START
            self._note()

    def read_unshipped(self, limit: int) -> Unshipped:
        """Return up to ``limit`` of the oldest records that are not marked as shipped."""
        return read_records(self.needed(), self.shipped, limit)

    def needed(self) -> tuple[Segment, ...]:
        """Return the segments that are not shipped, oldest first, whether kept or held."""
        kept = [one for one in tuple(self.kept.segments) if not one.is_behind(self.shipped)]
        return (*kept, *self.segments)

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
        """Whether ``free`` would find something to do."""
        if self.segments and self._is_spent(self.segments[0]):
            return True
        return self.kept.is_due(self.shipped, self._room_bytes())

    def free(self, *, all_kept: bool = False) -> None:
        """Let go of the oldest segments that are shipped and whose corrections are acknowledged.

        Only ever the oldest: acknowledgements stand behind what they acknowledge. They are kept for
        a while, then deleted.

        Args:
            all_kept: Keep none: room is needed.
        """
        with self._lock:
            is_changed = False
            while self.segments and self._is_spent(self.segments[0]):
                segment = self.segments.popleft()
                self.bytes_freed += segment.written
                if not segment.is_stray:
                    self.kept.add(segment)
                    is_changed = True
            leaving = self.kept.take_due(self.shipped, 0 if all_kept else self._room_bytes())
            if is_changed or leaving:
                self._note(leaving)
            self.kept.delete(leaving)

    def _room_bytes(self) -> int:
        return self._bytes_max - sum(one.written for one in tuple(self.segments))

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
        for segment in self.needed():
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
                for piece in salvage(line, start):
                    _take(batch, segment, piece, is_wanted)
            elif is_wanted(kind, payload):
                _take(batch, segment, Line(start, end, kind, payload), is_wanted)
            if len(batch.records) + len(batch.unreadable) >= limit:
                batch.last_line = line
                return True
            start = end
        batch.last_line = lines[-1]
    return False


def _take(
    batch: Unshipped, segment: Segment, line: Line, is_wanted: Callable[[bytes, bytes], bool]
) -> None:
    if line.kind is None:
        _keep_unreadable(batch, "damaged", segment, line)
        batch.count += may_be_record(line.payload)
    elif is_wanted(line.kind, line.payload):
        try:
            batch.records.append(decode_record(line.payload))
        except ValueError as error:
            size_bytes = len(line.payload)
            _log.error("journal.record_unreadable", error=str(error), size_bytes=size_bytes)
            _keep_unreadable(batch, "unreadable", segment, line)
        batch.count += 1


def _keep_unreadable(batch: Unshipped, reason: str, segment: Segment, line: Line) -> None:
    batch.unreadable.append(
        {
            "reason": reason,
            "segment": segment.path.name,
            "offset": line.start,
            "line": line.payload.decode("utf-8", "backslashreplace"),
        }
    )
