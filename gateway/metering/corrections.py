"""Corrections on their way to the counter store: refunds and top-ups, each applied once per hold.

A record that is written may owe the store a correction of its charge. Its sending is set going
before the request is released, so ahead of whatever the caller asks for next; while the store is
away it waits here, beyond a bound in the journal alone. After a restart the journal replays what
was never acknowledged: the store's marker per hold makes a repetition harmless.

Source: design section 3 (step 9); requirements A8, A9, D1.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.counters.port import CounterStore
from gateway.errors import StoreUnavailable
from gateway.metering.journal import Journal
from gateway.metering.journal_format import Position, owes_correction
from gateway.rules.charge import Correction, CounterDelta
from gateway.rules.record import Record
from gateway.tasks import spawn
from gateway.telemetry.state_log import StateLog

_log = structlog.get_logger("corrections")

_BATCH_MAX: Final = 256
"""One call to the store: some tens of KiB, well below its deadline."""
_IN_FLIGHT_MAX: Final = 16
"""Calls at a time. A new tick need not wait for the answer to the one before."""
_PENDING_MAX: Final = 10_000
"""Corrections kept in memory (about 1 KiB each); the journal holds the others."""
_BACK_OFF_FIRST_SECONDS: Final = 0.05
_BACK_OFF_MAX_SECONDS: Final = 5.0


def correction_of(record: Record) -> Correction:
    """Return what a record still owes the counter store."""
    return Correction(
        tag=record.workspace_id or _tag_of(record),
        hold_id=record.event_id,
        deltas=tuple(
            CounterDelta(str(key), int(delta_micro), int(expires_at_seconds))
            for key, delta_micro, expires_at_seconds in record.deltas
        ),
        run_key=record.run_key,
        release_run=record.run_key is not None and not record.claimed_reason,
        claimed_until_seconds=record.claimed_until_seconds,
    )


def _tag_of(record: Record) -> str:
    """Return the hash tag of the counters, which is an address's on a route without keys."""
    key = str(record.deltas[0][0]) if record.deltas else ""
    return key.partition("{")[2].partition("}")[0]


class Corrections:
    """Sends corrections until the store acknowledges them.

    Args:
        store: Where to.
        journal: Where they are durable; its ``on_written`` is set to ``enqueue``.
        back_off_seconds: First pause after the store was found away; doubles up to five seconds.
    """

    def __init__(
        self,
        store: CounterStore,
        journal: Journal,
        *,
        back_off_seconds: float = _BACK_OFF_FIRST_SECONDS,
    ) -> None:
        self._store = store
        self._journal = journal
        self._back_off_seconds = back_off_seconds
        self._pending: deque[Correction] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._catching_up: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause_seconds = back_off_seconds
        self._is_away = False
        self._aways = StateLog(
            _log, "corrections.store_away", journal.clock.monotonic_micro, level="warning"
        )
        self._is_away_told = False
        self._is_closed = False
        journal.on_written = self.enqueue

    def start(self, *, replay: bool) -> None:
        """Begin with what the last run left behind.

        Args:
            replay: Whether the store outlived the gateway. A memory store did not: it is rebuilt
                from records that are settled already, so nothing is owed to it.
        """
        if not replay:
            self._journal.acknowledge_all()
        elif self._journal.unacknowledged_count:
            _log.info("corrections.replayed", count=self._journal.unacknowledged_count)
            self._catch_up()

    def enqueue(self, records: Sequence[Record]) -> None:
        """Send the corrections of records that were just written.

        The task made here is ahead, in the loop's queue, of everything that the release of these
        requests sets going.
        """
        if self._catching_up is not None or self._is_closed:
            return  # they are in the journal, where they will be met
        self._pending.extend(correction_of(record) for record in records if owes_correction(record))
        if len(self._pending) > _PENDING_MAX:
            self._pending.clear()
            self._catch_up()
        elif not self._is_away:
            self._send_pending()

    async def drain(self, deadline_seconds: float) -> bool:
        """Wait until nothing is owed; return whether that came before the deadline."""
        loop = asyncio.get_running_loop()
        end_seconds = loop.time() + deadline_seconds
        while self._journal.unacknowledged_count:
            work = [*self._sending, *([self._catching_up] if self._catching_up else [])]
            left_seconds = end_seconds - loop.time()
            if left_seconds <= 0:
                return False
            pause_seconds = min(left_seconds, self._pause_seconds)
            if work:
                await asyncio.wait(work, timeout=left_seconds, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(pause_seconds)
        return True

    async def close(self) -> None:
        """Stop sending; what is still owed is replayed at the next start."""
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
        work = [*self._sending, *([self._catching_up] if self._catching_up else [])]
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work)

    def _send_pending(self) -> None:
        while self._pending and len(self._sending) < _IN_FLIGHT_MAX:
            count = min(len(self._pending), _BATCH_MAX)
            batch = [self._pending.popleft() for _ in range(count)]
            task = spawn(self._send(batch), name="corrections.send")
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not self._is_away and not self._is_closed:
            self._send_pending()

    async def _send(self, batch: list[Correction]) -> None:
        try:
            await self._store.correct(batch)
        except StoreUnavailable as error:
            self._pending.extend(batch)  # at the back: one that always fails blocks no others
            self._pause(error)
            return
        self._note_sent(batch)

    def _note_sent(self, batch: Sequence[Correction]) -> None:
        self._journal.acknowledge(correction.hold_id for correction in batch)
        if self._is_away:
            self._is_away = False
            if self._is_away_told:
                _log.warning("corrections.store_back", owed=self._journal.unacknowledged_count)
        self._pause_seconds = self._back_off_seconds

    def _note_away(self, error: StoreUnavailable) -> float:
        """Log the change of state, once; return how long to wait before the next try."""
        if not self._is_away:
            self._is_away = True
            self._is_away_told = self._aways.note(error.code, code=error.code, error=error.message)
        pause_seconds = self._pause_seconds
        self._pause_seconds = min(2 * pause_seconds, _BACK_OFF_MAX_SECONDS)
        return pause_seconds

    def _pause(self, error: StoreUnavailable) -> None:
        if self._retry is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(self._note_away(error), self._try_again)

    def _try_again(self) -> None:
        """Send one batch; the others follow when it was taken."""
        self._retry = None
        if not self._pending:
            self._is_away = False
        elif self._catching_up is None:
            count = min(len(self._pending), _BATCH_MAX)
            batch = [self._pending.popleft() for _ in range(count)]
            task = spawn(self._send(batch), name="corrections.retry")
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _catch_up(self) -> None:
        self._catching_up = spawn(self._send_from_journal(), name="corrections.catch_up")

    async def _send_from_journal(self) -> None:
        """Send what the journal holds until nothing is owed, then go live again.

        No live correction slips through: the last look, which finds nothing owed, and the switch
        are in one turn of the loop.
        """
        position: Position | None = None
        try:
            while self._journal.unacknowledged_count:
                position = await self._send_next(position)
            self._pending.clear()  # all of it was met in the journal
        finally:
            self._catching_up = None

    async def _send_next(self, position: Position | None) -> Position | None:
        """Send one batch from a position on; return where to go on, None from the start again."""
        try:
            found = await asyncio.to_thread(self._journal.read_unacknowledged, position, _BATCH_MAX)
        except OSError as error:
            _log.error("corrections.journal_unreadable", error=error.strerror)
            await asyncio.sleep(_BACK_OFF_MAX_SECONDS)
            return position
        unacknowledged = self._journal.reader.unacknowledged
        owed = [record for record in found.records if record.event_id in unacknowledged]
        if owed:
            await self._send_until_taken([correction_of(record) for record in owed])
        elif found.position == position:
            await asyncio.sleep(self._back_off_seconds)  # what is owed is in flight
            return None
        return found.position

    async def _send_until_taken(self, batch: list[Correction]) -> None:
        while True:
            try:
                await self._store.correct(batch)
            except StoreUnavailable as error:
                await asyncio.sleep(self._note_away(error))
            else:
                self._note_sent(batch)
                return
