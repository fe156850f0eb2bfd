"""The shipper: brings records from the journal to the ledger, in batches, exactly once.

The ledger ignores event ids that it has, and the journal's checkpoint follows only when it has
them: whatever step a crash hits, the next start repeats the batch without harm. A record that the
ledger refuses is set aside where an operator finds it; it holds nobody else up.

Owns: pace and back-off. Does not own: files (``journal``), the way of a batch (``courier``).
Source: design sections 8 and 13; requirements X6, D1.
"""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.metering.carrier import Carried
from gateway.metering.courier import Courier
from gateway.metering.journal import Journal
from gateway.metering.journal_damage import Damage
from gateway.metering.journal_format import Position
from gateway.metering.ledger_watch import WentBack
from gateway.tasks import spawn
from gateway.telemetry.metrics import ShipperStats
from gateway.telemetry.state_log import StateLog, kind_of

_log = structlog.get_logger("shipper")

_BACK_OFF_MAX_SECONDS: Final = 5.0
"""After a failover that took minutes, too, records go on within seconds."""

CLOSE_SECONDS: Final = 5.0
"""How long the end waits for a batch: many times as long as one takes."""

_SMALL_BATCH: Final = 200
"""Where a disk is full: a transaction must fit in what is set aside."""


class Shipper:
    """Ships in the background of one worker.

    Args:
        interval_seconds: Pause after the journal held less than a batch.
        batch: Records per transaction.
    """

    def __init__(
        self,
        journal: Journal,
        courier: Courier,
        *,
        clock: Clock,
        stats: ShipperStats,
        interval_seconds: float,
        batch: int,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._stats = stats
        self._interval_seconds = interval_seconds
        self._courier = courier
        self._batch = batch
        self._turn = asyncio.Lock()
        self._batches: set[asyncio.Task[int]] = set()
        self._task: asyncio.Task[None] | None = None
        self._away_since_micro: int | None = None
        self._failures = 0
        self._aways = StateLog(_log, "shipper.ledger_away", clock.monotonic_micro)
        self._bugs = StateLog(_log, "shipper.failed", clock.monotonic_micro)
        self._is_away_told = False
        self._is_comparing = True
        self._compare_at: Position | None = None

    @property
    def is_ledger_available(self) -> bool:
        """Whether the last attempt to reach the ledger succeeded."""
        return self._away_since_micro is None

    def start(self) -> None:
        """Begin to ship."""
        self._task = spawn(self._run(), name="shipper")

    async def flush(self, deadline_seconds: float) -> bool:
        """Ship until nothing is left; return whether that came before the deadline.

        A batch that is under way when the deadline passes goes on: it can't be called back.
        """
        loop = asyncio.get_running_loop()
        end_seconds = loop.time() + deadline_seconds
        while True:
            shipped = await self._ship(end_seconds - loop.time())
            if shipped is None:
                return False
            if not shipped and not self._failures:
                return True
            left_seconds = end_seconds - loop.time()
            if left_seconds <= 0:
                return not self._journal.unshipped_records
            if self._failures:
                await asyncio.sleep(min(self._pause_seconds(), left_seconds))

    async def rest(self) -> None:
        """Wait until no batch is under way; one whose ledger hangs is given up some time."""
        while self._batches:
            await asyncio.wait(self._batches)

    async def close(self, deadline_seconds: float = CLOSE_SECONDS) -> None:
        """Stop after the batch that is under way; what is left is shipped after the next start.

        Args:
            deadline_seconds: A batch that takes longer is left: its ledger does not answer.
        """
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._batches:
            await asyncio.wait(self._batches, timeout=deadline_seconds)
        while self._batches:
            for batch in self._batches:
                batch.cancel()
            await asyncio.wait(self._batches)
        await self._courier.close()

    async def measure(self) -> None:
        """Bring up to date how far the ledger is behind, whatever a batch waits for."""
        self._stats.lag_records = self._journal.unshipped_records
        self._stats.processes_replaced = self._courier.replaced
        oldest = asyncio.to_thread(self._journal.reader.oldest_unshipped_micro)
        with suppress(OSError):  # a journal that can't be read is told of by its batches
            self._stats.oldest_unshipped_micro = await oldest

    async def _run(self) -> None:
        while True:
            shipped = await self._ship()
            if (shipped or 0) < self._batch:  # a few at a time would cost a transaction each
                await asyncio.sleep(self._pause_seconds())

    async def _ship(self, patience_seconds: float | None = None) -> int | None:
        """Ship one batch, None if that takes longer; it goes on then, and if this is cancelled."""
        work = spawn(self._ship_in_turn(), name="shipper.batch")
        self._batches.add(work)
        work.add_done_callback(self._batches.discard)
        done, _ = await asyncio.wait({work}, timeout=patience_seconds)
        return work.result() if done else None

    async def _ship_in_turn(self) -> int:
        """Ship the oldest batch; return how many records it had, 0 if that was none or failed."""
        async with self._turn:
            try:
                return await self._ship_oldest()
            except GatewayError as error:
                self._note_away(error.code, error.message, error.hint)
            except OSError as error:
                self._note_away("journal.unreadable", error.strerror or str(error))
            except Exception as error:  # noqa: BLE001 - else nothing were shipped until a restart
                self._bugs.note(kind_of(error), exc_info=error)
                self._note_away("shipper.failed", f"{type(error).__name__}: {error}")
            if await self._journal.make_room():
                self._failures = 1  # it is worth another try soon
            return 0

    async def _ship_oldest(self) -> int:
        try:
            carried = await self._carry()
            if carried.is_reconnected and not carried.count:
                carried = await self._carry()
            if carried.went_back is not None:
                await self._go_back(carried.went_back)
                carried = await self._carry()
            self._note_carried(carried)
        finally:
            # The ledger may be away for long: corrections are acknowledged meanwhile.
            if self._journal.reader.is_freeable:
                await asyncio.to_thread(self._journal.free)
        self._note_back()
        return carried.count

    async def _carry(self) -> Carried:
        """Have a batch carried; first, after each connect, have the ledger compared."""
        shipped = self._journal.reader.shipped
        compare_at = (self._compare_at or shipped) if self._is_comparing else None
        carried = await self._courier.carry(self._journal.load(self._batch, compare_at=compare_at))
        self._is_comparing, self._compare_at = carried.is_reconnected, shipped
        return carried

    async def _go_back(self, found: WentBack) -> None:
        self._stats.ledger_went_back += 1
        self._stats.ledger_gaps += found.is_older_lost
        _log.error(
            "ledger.went_back",
            missing=found.missing,
            asked=found.asked,
            oldest_kept_micro=found.oldest_kept_micro,
            is_older_lost=found.is_older_lost,
            hint="what the journal keeps is shipped again; events from before oldest_kept_micro "
            "are lost: compare with another copy of the ledger"
            if found.is_older_lost
            else "nothing to do: what the journal keeps is shipped again",
        )
        await asyncio.to_thread(self._journal.reader.go_back)

    async def verify_kept(self) -> None:
        """Look whether shipped segments that are kept are as they were, else ship all again."""
        altered = await asyncio.to_thread(self._journal.reader.kept.altered)
        for segment in altered:
            self._journal.damages.tell(Damage.SEGMENT_ALTERED, segment=segment.number)
        if altered:
            async with self._turn:
                await asyncio.to_thread(self._journal.reader.go_back)

    def _note_carried(self, carried: Carried) -> None:
        self._journal.reader.mark_carried(carried.position, carried.count)
        self._stats.errors += carried.set_aside
        self._stats.shipped += carried.count
        self._stats.batches += bool(carried.count)

    def _pause_seconds(self) -> float:
        return min(self._interval_seconds * 2.0**self._failures, _BACK_OFF_MAX_SECONDS)

    def _note_away(self, code: str, message: str, hint: str = "") -> None:
        """Count every failure, log the change of state."""
        self._stats.errors += 1
        if not self._is_comparing:
            self._is_comparing, self._compare_at = True, self._journal.reader.shipped
        self._failures = min(self._failures + 1, 10)
        if self._away_since_micro is None:
            self._away_since_micro = self._clock.monotonic_micro()
            self._is_away_told = self._aways.note(
                code,
                code=code,
                error=message,
                hint=hint,
                unshipped=self._journal.unshipped_records,
            )

    def _note_back(self) -> None:
        self._failures = 0
        if self._away_since_micro is not None:
            away_micro = self._clock.monotonic_micro() - self._away_since_micro
            self._away_since_micro = None
            if self._is_away_told:
                _log.warning("shipper.ledger_back", away_micro=away_micro)
