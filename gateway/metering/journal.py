"""The journal: every record is in it before its request counts as finished.

All records of one event-loop tick go to the file in one write; only then are their requests
released. ``kill -9`` loses none of them (the page cache has them), power loss at most
``fsync_seconds``. When the disk refuses, requests are told so; the journal comes back by itself.

Owns: order, durability, the bound on what is held, which corrections are still owed.
Does not own: delivery (``shipper``, ``corrections``), what a line looks like (``journal_format``).
Source: design sections 3 (step 9), 8 and 13; requirement X6.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from errno import ENOSPC
from functools import partial
from os import strerror
from pathlib import Path
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.metering.carrier import Load
from gateway.metering.journal_damage import Damages
from gateway.metering.journal_folder import JournalFolder
from gateway.metering.journal_format import (
    Position,
    encode_acknowledgement,
    encode_record,
    owes_correction,
)
from gateway.metering.journal_kept import KeptSegments
from gateway.metering.journal_reader import JournalReader, Unshipped
from gateway.metering.journal_room import Room
from gateway.metering.journal_segments import SegmentWriter
from gateway.metering.journal_sync import Batch, Syncer
from gateway.metering.recorder import Recorder, Waiter
from gateway.rules.record import Record
from gateway.tasks import spawn
from gateway.telemetry.metrics import JournalStats
from gateway.telemetry.state_log import StateLog

_log = structlog.get_logger("journal")

_SEGMENTS_MIN: Final = 4
"""A segment is freed as a whole, so the bound must hold several of them."""
_RESERVE_PART: Final = 10
"""One part in so many of the bound is kept for requests that are already under way when it is
reached: ``is_available`` turns false before it, ``append`` fails only after it."""
_ALONE_MICRO: Final = 1000
"""Longer than a worker that has much to do takes from one tick to the next. To wait for a tick
costs a request that is alone some microseconds, to write each record by itself one that is not."""
_ACKNOWLEDGED_PER_LINE_MAX: Final = 1000
"""Keeps a line below 64 KiB; the rest follows in the next tick."""


def _nobody(_records: Sequence[Record]) -> None:
    """Nobody asked to be told of corrections."""


class Journal(Recorder):
    """A durable queue of records in a folder of this worker's own.

    ``append``, ``acknowledge``, ``flush`` and ``close`` belong to the event loop's thread; ``open``
    and everything that reads or ships is blocking and may run in one other thread.

    Args:
        directory: Where; created if it is missing, locked while it is open.
        clock: For how long the journal was away.
        stats: Counted up.
        fsync_seconds: Most that a power loss may cost; 0 forces each write to the disk before its
            requests are released (one fsync for all that wait).
        segment_bytes_max: A new file is begun at this size, or at a quarter of the bound.
        bytes_max: Most that is held for a ledger or store that is away.
        probe_seconds: How often a disk that refused is tried again.
        keep_seconds: How long a shipped segment is kept for a ledger that loses it.
        keep_bytes_max: Most that is kept for it.
        reserve_bytes: Set aside for a ledger on the same disk.

    Attributes:
        on_written: Told, before their requests are released, of written records that owe the
            counter store a correction.
        damages: Where damage is noted that is found after the start.
        reader: The side of the journal that is read and emptied.
        room: What is set aside for the ledger.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        stats: JournalStats,
        fsync_seconds: float,
        segment_bytes_max: int,
        bytes_max: int,
        probe_seconds: float = 1.0,
        keep_seconds: float = 0.0,
        keep_bytes_max: int = 0,
        reserve_bytes: int = 0,
    ) -> None:
        self.on_written: Callable[[Sequence[Record]], None] = _nobody
        self.damages = Damages(str(directory), stats.damage)
        self._clock = clock
        self._stats = stats
        self._unwritable = StateLog(_log, "journal.record_unwritable", clock.monotonic_micro)
        self._bounds = (segment_bytes_max, bytes_max)
        self._probe_seconds = probe_seconds
        self._folder = JournalFolder(directory)
        kept = KeptSegments(clock, seconds=keep_seconds, bytes_max=keep_bytes_max)
        self.reader = JournalReader(self._folder, kept, bytes_max)
        self._syncer = Syncer(
            self._folder,
            fsync_seconds,
            on_synced=self._commit_all,
            on_failed=self._sync_failed,
            on_retired=self.reader.note,
        )
        self.room = Room(self.reader, directory, reserve_bytes)
        self._bound()
        self._writer: SegmentWriter | None = None
        self._next_number = 1
        self._bytes_written = 0
        self._records_written = 0
        self._queue: list[tuple[Record, Waiter]] = []
        self._acknowledged: deque[str] = deque()
        self._is_scheduled = False
        self._last_write_micro = clock.monotonic_micro()
        self._is_full = False
        self._recovery: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_available(self) -> bool:
        """Whether new requests may begin: the disk takes records and the bound is not near."""
        return self._writer is not None and self.bytes_held < self._bytes_open_max

    @property
    def bytes_held(self) -> int:
        """Size of all segments."""
        return self._bytes_written - self.reader.bytes_freed

    @property
    def unshipped_records(self) -> int:
        """How many records the ledger has not been given yet."""
        return self._records_written - self.reader.records_shipped

    @property
    def unacknowledged_count(self) -> int:
        """How many corrections the counter store has not acknowledged."""
        return len(self.reader.unacknowledged)

    @property
    def clock(self) -> Clock:
        """The clock that it was given."""
        return self._clock

    @property
    def directory(self) -> Path:
        """The folder."""
        return self._folder.path

    def open(self) -> None:
        """Lock the folder, mend a torn end, learn what is held, begin a new segment. Blocking.

        Raises:
            GatewayError: ``journal.locked``, ``journal.unwritable``, ``journal.format_unknown``.
        """
        scan = self._folder.open()
        self.reader.load(scan)
        self._stats.damage.update(scan.damages)
        self._stats.torn_lines += scan.damaged_lines
        self._records_written = scan.unshipped_records
        self._bytes_written = sum(segment.written for segment in scan.segments)
        self._next_number = scan.next_number
        while self._folder.holds_segment(self._next_number):
            self._next_number += 1  # a foreign file has its name
        self._adopt(self._folder.begin_segment(self._next_number))
        self.reader.begin(scan.checkpoint)
        self.room.set_aside()
        self._bound()
        self._refresh()
        _log.info(
            "journal.opened",
            folder=str(self._folder.path),
            bytes_held=self.bytes_held,
            unshipped=self.unshipped_records,
            corrections_owed=self.unacknowledged_count,
            damaged_lines=scan.damaged_lines,
        )

    def append(self, record: Record, waiter: Waiter) -> None:
        """Take a record; ``waiter`` is released within a tick, or after the fsync if one is due.

        A record that comes a while after the last one is written at once, and it is released before
        this returns; those that follow closely share one write at the end of their tick.

        Args:
            record: Not to be changed any more.
            waiter: True: the record is kept, the answer may be finished. False: it is not.
        """
        self._queue.append((record, waiter))
        if self._is_scheduled:
            return
        if self._clock.monotonic_micro() - self._last_write_micro >= _ALONE_MICRO:
            self._write_without_nesting()
        else:
            self._schedule()

    def acknowledge(self, hold_ids: Iterable[str]) -> None:
        """Note that the counter store has these corrections: they need no replay."""
        unacknowledged = self.reader.unacknowledged
        for hold_id in hold_ids:
            segment = unacknowledged.pop(hold_id, None)
            if segment is not None:
                segment.unacknowledged -= 1
                self._acknowledged.append(hold_id)
        self._stats.corrections_pending = len(unacknowledged)
        if self._acknowledged and not self._is_scheduled:
            self._schedule()

    def acknowledge_all(self) -> None:
        """Note that nothing is owed: a memory store was rebuilt from the settled records."""
        self.acknowledge(list(self.reader.unacknowledged))

    async def flush(self) -> None:
        """Bring everything that was appended to the disk, and release it."""
        self._write_queued()
        await self._syncer.finish()

    async def close(self) -> None:
        """Flush, close and unlock. What is appended afterwards is not kept."""
        await self.flush()
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
        if self._writer is not None:
            self._writer.close()
            self._writer.segment.is_sealed = True
            self._writer = None
            await self._syncer.run(self.reader.note)
        self._syncer.close()
        self._folder.close()

    def load(self, limit: int, *, compare_at: Position | None = None) -> Load:
        """Return where the oldest unshipped records are to be found.

        Args:
            limit: Most records to take.
            compare_at: See ``Load``.
        """
        reader = self.reader
        kept = () if compare_at is None else tuple(reader.kept.segments)
        where = (self.directory, reader.needed(), reader.shipped)
        return Load(*where, limit, reader.journal_id, kept, compare_at)

    def free(self) -> None:
        """Let go of segments that are shipped and owe nothing; see ``JournalReader``. Blocking."""
        self.reader.free()
        if self.room.is_tight and not self.room.is_given:
            self.room.set_aside()
            self._bound()
        self._refresh()

    async def make_room(self) -> bool:
        """Help a ledger that fails on a full disk. See ``Room.make``."""
        return await self.room.make(self._syncer.run, self._stop_writing)

    def read_unacknowledged(self, position: Position | None, limit: int) -> Unshipped:
        """Return up to ``limit`` records whose corrections are owed. Blocking.

        Args:
            position: Where the last batch ended; None for the oldest.
            limit: At least 1.
        """
        start = self.reader.first_owing() if position is None else position
        return self.reader.read_unacknowledged(start, limit)

    def _bound(self) -> None:
        bytes_max = self._bytes_max = self.room.bound_of(self._bounds[1])
        self._bytes_open_max = bytes_max - bytes_max // _RESERVE_PART
        self._segment_bytes_max = min(self._bounds[0], bytes_max // _SEGMENTS_MIN)

    def _schedule(self) -> None:
        self._is_scheduled = True
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # asked each time, it asks the kernel
        self._loop.call_soon(self._write_without_nesting)

    def _write_without_nesting(self) -> None:
        """Write what is queued; what its release brings, a pipelined request say, is for a tick."""
        self._is_scheduled = True
        try:
            self._write_queued()
        finally:
            # At its end: a write may take long, and what follows it closely must share the next.
            self._last_write_micro = self._clock.monotonic_micro()
            self._is_scheduled = False
            if self._queue or self._acknowledged:
                self._schedule()

    def _write_queued(self) -> None:
        """Write what this tick brought, in one call; the heart of the journal."""
        waiting, self._queue = self._queue, []
        lines = self._encode(waiting)
        if self._acknowledged:
            lines.append(self._acknowledgement())
        if not lines:
            return
        data = b"".join(lines)
        writer = self._writer
        if writer is None or self.bytes_held + len(data) > self._bytes_max:
            self._release(waiting, kept=False)
            return
        try:
            writer.write(data)
        except OSError as error:
            try:
                self._write_failed(writer, error)
            finally:  # it logs, perhaps to the same disk
                self._release(waiting, kept=False)
            return
        self._bytes_written += len(data)
        self._stats.writes += 1
        batch = Batch(writer.segment, writer.segment.written, waiting)
        self._syncer.written(writer, batch if self._syncer.is_immediate else None)
        if writer.segment.written >= self._segment_bytes_max:
            self._rotate(writer)
        if not self._syncer.is_immediate:
            self._commit(batch)
        self._refresh()

    def _encode(self, waiting: list[tuple[Record, Waiter]]) -> list[bytes]:
        try:
            return [encode_record(record) for record, _ in waiting]
        except TypeError:
            return self._encode_possible(waiting)

    def _encode_possible(self, waiting: list[tuple[Record, Waiter]]) -> list[bytes]:
        """Leave out, of lines and of ``waiting``, the records that can't be written down."""
        lines = []
        possible = []
        impossible = []
        for record, waiter in waiting:
            try:
                lines.append(encode_record(record))
                possible.append((record, waiter))
            except TypeError as error:
                impossible.append((record, waiter))
                self._unwritable.note(str(error), event_id=record.event_id, error=str(error))
        waiting[:] = possible
        # Later: a release that fails here would take the good records with it.
        asyncio.get_running_loop().call_soon(partial(self._release, impossible, kept=False))
        return lines

    def _acknowledgement(self) -> bytes:
        count = min(len(self._acknowledged), _ACKNOWLEDGED_PER_LINE_MAX)
        line = encode_acknowledgement(self._acknowledged.popleft() for _ in range(count))
        if self._acknowledged and not self._is_scheduled:
            self._schedule()
        return line

    def _commit_all(self, batches: Sequence[Batch]) -> None:
        for index, batch in enumerate(batches):
            try:
                self._commit(batch)
            except BaseException:
                asyncio.get_running_loop().call_soon(self._commit_all, batches[index + 1 :])
                raise

    def _commit(self, batch: Batch) -> None:
        """Let readers see a batch, hand its corrections on, and release its requests."""
        segment = batch.segment
        segment.end = batch.end
        self._records_written += len(batch.waiting)
        self._stats.records += len(batch.waiting)
        owing = [record for record, _ in batch.waiting if owes_correction(record)]
        try:
            if owing:
                for record in owing:
                    self.reader.unacknowledged[record.event_id] = segment
                segment.unacknowledged += len(owing)
                self._stats.corrections_pending = self.unacknowledged_count
                self.on_written(owing)
        finally:
            self._release(batch.waiting, kept=True)

    def _release(self, waiting: Sequence[tuple[Record, Waiter]], *, kept: bool) -> None:
        """Tell each request. One that fails must not keep the others waiting for ever."""
        for index, (_, waiter) in enumerate(waiting):
            try:
                waiter.release(kept)
            except BaseException:
                rest = partial(self._release, waiting[index + 1 :], kept=kept)
                asyncio.get_running_loop().call_soon(rest)
                raise

    def _adopt(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._next_number = writer.segment.number + 1
        self.reader.segments.append(writer.segment)

    def _rotate(self, full: SegmentWriter) -> None:
        try:
            writer = self._folder.create_segment(self._next_number)
        except OSError as error:
            self._write_failed(full, error)
            return
        self._adopt(writer)
        full.segment.is_sealed = True
        self._syncer.retire(full)

    def _write_failed(self, writer: SegmentWriter, error: OSError) -> None:
        """Leave the file; go on in a new one when the disk takes it."""
        self._leave(writer)
        self._lose_disk("journal.write_failed", error)

    def _stop_writing(self) -> None:
        if self._writer is not None:
            self._leave(self._writer)
        self._lose_disk("journal.reserve_given", OSError(ENOSPC, strerror(ENOSPC)))

    def _leave(self, writer: SegmentWriter) -> None:
        """Seal a file behind its last good line; what is released in it still goes to the disk."""
        try:
            writer.seal()
        except OSError as error:
            _log.error("journal.not_cut", segment=writer.segment.path.name, error=error.strerror)
        self._syncer.retire(writer)

    def _sync_failed(
        self, error: OSError, writers: Sequence[SegmentWriter], batches: Sequence[Batch]
    ) -> None:
        for writer in writers:
            try:
                self._bytes_written -= writer.forget_unread()
            except OSError as second:
                _log.error(
                    "journal.not_cut", segment=writer.segment.path.name, error=second.strerror
                )
            writer.close()
        if self._writer is not None and self._writer not in writers:
            # Begun since: nobody will write to it, and readers go past none that isn't sealed.
            self._leave(self._writer)
        try:
            self._lose_disk("journal.fsync_failed", error)
        finally:
            self._release([waiter for batch in batches for waiter in batch.waiting], kept=False)

    def _lose_disk(self, event: str, error: OSError) -> None:
        self._writer = None
        self._stats.write_errors += 1
        if self._recovery is None:
            self._recovery = spawn(self._recover(), name="journal.recovery")
        _log.critical(
            event,
            folder=str(self._folder.path),
            error=error.strerror,
            hint="answers can't be recorded and are not finished; free space or mend the disk",
        )

    async def _recover(self) -> None:
        lost_at_micro = self._clock.monotonic_micro()
        while self._writer is None:
            await asyncio.sleep(self._probe_seconds)
            try:
                self._adopt(await self._syncer.run(self._try_disk))
                await self._syncer.run(self.reader.note)
            except OSError:
                # Consecutive, so that a missing one is noticed. What can't be deleted has its name.
                if self._folder.holds_segment(self._next_number):
                    self._next_number += 1
        self._recovery = None
        _log.warning("journal.recovered", away_micro=self._clock.monotonic_micro() - lost_at_micro)

    def _try_disk(self) -> SegmentWriter:
        self.room.regain(is_all_shipped=not self.unshipped_records)
        self._bound()
        self._folder.probe()
        return self._folder.create_durable_segment(self._next_number)

    def _refresh(self) -> None:
        stats = self._stats
        stats.bytes_held = self.bytes_held
        stats.segments = len(self.reader.segments)
        is_full = stats.bytes_held >= self._bytes_open_max
        if is_full == self._is_full:
            return
        self._is_full = is_full
        if is_full:
            _log.critical(
                "journal.full",
                bytes_held=stats.bytes_held,
                unshipped=self.unshipped_records,
                hint="the ledger or the counter store is away too long, or the bound is too small",
            )
        else:
            _log.warning("journal.has_room", bytes_held=stats.bytes_held)
