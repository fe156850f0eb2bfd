"""The shipper: brings records from the journal to the ledger, in batches, exactly once.

The ledger ignores event ids that it has, and the journal's checkpoint follows only when it has
them: whatever step a crash hits, the next start repeats the batch without harm. A record that the
ledger refuses is set aside where an operator finds it; it holds nobody else up.

Owns: pace, back-off, the poison record. Does not own: files (``journal``), tables (``ledger``).
Source: design sections 8 and 13; requirements X6, D1.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.errors import LedgerUnavailable
from gateway.ledger.port import Ledger
from gateway.metering.journal import Journal
from gateway.metering.quarantine import set_aside
from gateway.rules.record import Record
from gateway.tasks import spawn
from gateway.telemetry.metrics import ShipperStats

_log = structlog.get_logger("shipper")

_BACK_OFF_MAX_SECONDS: Final = 30.0
_WIDENING_MAX: Final = 8
"""A batch that is refused whole is widened up to so many times its size: if the ledger takes not
one record of that many, the ledger is at fault, not they."""


class LedgerRefusesAll(LedgerUnavailable):
    """The ledger answers, but took not one record of a batch: something is wrong with it."""


class Delivery:
    """One batch at a time from a journal to a ledger. Blocking; one thread at a time.

    Args:
        batch: How many records at a time.
    """

    def __init__(
        self, journal: Journal, ledger: Ledger, *, clock: Clock, stats: ShipperStats, batch: int
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._clock = clock
        self._stats = stats
        self._batch = batch
        self._widening = 1

    def ship_batch(self) -> int:
        """Ship the oldest batch; return how many records it had, 0 if nothing was left.

        Raises:
            LedgerUnavailable: nothing of it is lost: call again later.
            OSError: the journal can't be read, or a refused record can't be set aside.
        """
        self._journal.free()
        batch = self._journal.read_unshipped(self._batch * self._widening)
        records = batch.records
        self._stats.oldest_unshipped_micro = records[0].occurred_at_micro if records else 0
        if records:
            self._deliver(records)
        self._widening = 1
        self._journal.mark_shipped(batch)
        self._stats.shipped += len(records)
        self._stats.batches += bool(records)
        self._stats.lag_records = self._journal.unshipped_records
        return len(records)

    def _deliver(self, records: Sequence[Record]) -> None:
        refused: list[tuple[Record, Exception]] = []
        self._append(records, refused)
        if not refused:
            return
        if len(refused) == len(records) and self._widening < _WIDENING_MAX:
            self._widening *= 2
        if len(refused) == len(records):
            raise LedgerRefusesAll(
                "ledger.refuses_all",
                f"the ledger took none of {len(records)} records: {refused[0][1]}",
                "see that the ledger's schema is the gateway's; the records wait in the journal",
            ) from refused[0][1]
        self._set_aside(refused)

    def _append(self, records: Sequence[Record], refused: list[tuple[Record, Exception]]) -> None:
        """Append all, or halve until those that are refused stand alone."""
        try:
            self._ledger.append(records)
        except LedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - poison may be anything that a driver says
            if len(records) == 1:
                refused.append((records[0], error))
                return
            middle = len(records) // 2
            self._append(records[:middle], refused)
            self._append(records[middle:], refused)

    def _set_aside(self, refused: Sequence[tuple[Record, Exception]]) -> None:
        entries = []
        for record, error in refused:
            self._stats.errors += 1
            _log.critical(
                "shipper.record_set_aside",
                event_id=record.event_id,
                workspace_id=record.workspace_id,
                error=str(error),
                folder=str(self._journal.directory),
                hint="correct the cause, then append the record from quarantine.jsonl by hand",
            )
            entries.append(
                {
                    "reason": "refused",
                    "error": str(error),
                    "set_aside_at_micro": self._clock.now_micro(),
                    "record": asdict(record),
                }
            )
        set_aside(self._journal.directory, entries)


class Shipper:
    """Ships in the background of one worker.

    Args:
        interval_seconds: Pause after the journal was found empty.
        batch: Records per transaction.
    """

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
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
        self._delivery = Delivery(journal, ledger, clock=clock, stats=stats, batch=batch)
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._away_since_micro: int | None = None
        self._failures = 0

    @property
    def is_ledger_available(self) -> bool:
        """Whether the last attempt to reach the ledger succeeded."""
        return self._away_since_micro is None

    def start(self) -> None:
        """Begin to ship."""
        self._task = spawn(self._run(), name="shipper")

    async def flush(self, deadline_seconds: float) -> bool:
        """Ship until nothing is left; return whether that came before the deadline.

        A batch that is under way when the deadline passes is waited for: it can't be called back.
        """
        loop = asyncio.get_running_loop()
        end_seconds = loop.time() + deadline_seconds
        while await self._ship() or self._failures:
            left_seconds = end_seconds - loop.time()
            if left_seconds <= 0:
                return not self._journal.unshipped_records
            if self._failures:
                await asyncio.sleep(min(self._pause_seconds(), left_seconds))
        return True

    async def close(self) -> None:
        """Stop after the batch that is under way; what is left is shipped after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        async with self._turn:
            pass

    async def _run(self) -> None:
        while True:
            shipped = await self._ship()
            if not shipped:
                await asyncio.sleep(self._pause_seconds())

    async def _ship(self) -> int:
        """Ship one batch in a thread; whoever is cancelled meanwhile leaves it to finish."""
        work = spawn(self._ship_in_turn(), name="shipper.batch")
        return await asyncio.shield(work)

    async def _ship_in_turn(self) -> int:
        async with self._turn:
            try:
                count = await asyncio.to_thread(self._delivery.ship_batch)
            except LedgerUnavailable as error:
                self._note_away(error.code, error.message)
                return 0
            except OSError as error:
                self._note_away("journal.unreadable", error.strerror or str(error))
                return 0
        self._note_back()
        return count

    def _pause_seconds(self) -> float:
        return min(self._interval_seconds * 2.0**self._failures, _BACK_OFF_MAX_SECONDS)

    def _note_away(self, code: str, message: str) -> None:
        """Count every failure, log the change of state."""
        self._stats.errors += 1
        self._stats.lag_records = self._journal.unshipped_records
        self._failures = min(self._failures + 1, 10)
        if self._away_since_micro is None:
            self._away_since_micro = self._clock.monotonic_micro()
            _log.error(
                "shipper.ledger_away",
                code=code,
                error=message,
                unshipped=self._stats.lag_records,
            )

    def _note_back(self) -> None:
        self._failures = 0
        if self._away_since_micro is not None:
            away_micro = self._clock.monotonic_micro() - self._away_since_micro
            self._away_since_micro = None
            _log.warning("shipper.ledger_back", away_micro=away_micro)
