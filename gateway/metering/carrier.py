"""Carries batches from a journal's files to a ledger; knows neither clock, pace nor event loop.

It runs in the shipper's thread, or in a process of its own where reading, writing and waiting take
nothing from the requests (``gateway.process.shipping``).

Owns: what becomes of a record that the ledger refuses, the note of how far the ledger is.
Does not own: when, how much.
Source: design sections 8 and 13; requirements X6, D1.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from gateway.clock import Clock
from gateway.errors import LedgerUnavailable
from gateway.ledger.port import Ledger
from gateway.metering.checkpoint import Checkpoint, write_checkpoint
from gateway.metering.journal_format import Position, checksum
from gateway.metering.journal_reader import Unshipped, read_records
from gateway.metering.journal_segments import Segment
from gateway.metering.ledger_watch import WentBack, compare
from gateway.metering.quarantine import set_aside
from gateway.rules.record import Record
from gateway.telemetry.state_log import StateLog

_log = structlog.get_logger("shipper")

_WIDENING_MAX: Final = 8
"""A batch that is refused whole is widened up to so many times its size: if the ledger takes not
one record of that many, the ledger is at fault, not they."""


class LedgerRefusesAll(LedgerUnavailable):
    """The ledger answers, but took not one record of a batch: something is wrong with it."""


@dataclass(slots=True)
class Load:
    """Where a batch is to be found.

    Attributes:
        folder: The journal's.
        segments: Oldest first.
        position: Behind what is shipped.
        limit: Most records to take.
        journal_id: The folder's.
        kept: Segments that the ledger has, older than ``segments``, where it is to be compared.
        compare_at: Whether the ledger still has what was shipped is asked first, back from here.
    """

    folder: Path
    segments: Sequence[Segment]
    position: Position
    limit: int
    journal_id: str = ""
    kept: Sequence[Segment] = ()
    compare_at: Position | None = None


@dataclass(slots=True)
class Carried:
    """What was brought to the ledger.

    Attributes:
        position: Behind it.
        count: Records, those that were set aside included.
        set_aside: Records that the ledger refused, and lines that can't be read.
        went_back: The ledger lacks what it had: nothing was carried.
        is_reconnected: It may be another ledger than before this batch: to be compared.
    """

    position: Position
    count: int
    set_aside: int
    went_back: WentBack | None = None
    is_reconnected: bool = False


class Carrier(Protocol):
    """One batch at a time from a journal to a ledger. Blocking; one thread at a time.

    Attributes:
        steps: Counts what is asked of the ledger: while it grows, the carrier gets on.
    """

    steps: int

    def carry(self, load: Load) -> Carried:
        """Bring the oldest batch to the ledger and note durably that it is there.

        Raises:
            LedgerUnavailable: nothing of it is lost: call again later.
            OSError: the journal can't be read, or something of it can't be set aside.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class LedgerCarrier:
    """Implements ``Carrier`` where it is called."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._widening = 1
        now_micro = clock.monotonic_micro
        self._aside = StateLog(_log, "shipper.record_set_aside", now_micro, level="critical")
        self._unnoted = StateLog(_log, "journal.checkpoint_failed", now_micro)
        self._epoch: str | None = None
        self.steps = 0

    def carry(self, load: Load) -> Carried:
        """See ``Carrier``."""
        if load.compare_at is not None:
            went_back = self._compare(load, load.compare_at)
            if went_back is not None:
                return Carried(load.position, 0, 0, went_back)
        elif self._is_reconnected():
            return Carried(load.position, 0, 0, is_reconnected=True)
        batch = read_records(load.segments, load.position, load.limit * self._widening)
        refused = self._deliver(load.folder, batch.records) if batch.records else 0
        if batch.unreadable:
            now_micro = self._clock.now_micro()
            entries = [{**one, "set_aside_at_micro": now_micro} for one in batch.unreadable]
            set_aside(load.folder, entries)
        self._widening = 1
        if batch.position != load.position:
            self._note(load, batch)
        return Carried(
            batch.position,
            batch.count,
            refused + len(batch.unreadable),
            is_reconnected=self._is_reconnected(),
        )

    def close(self) -> None:
        """Do nothing: the ledger belongs to somebody else."""

    def _compare(self, load: Load, position: Position) -> WentBack | None:
        self.steps += 1
        held = {one.number: one for one in (*load.kept, *load.segments)}
        segments = [held[number] for number in sorted(held)]
        went_back = compare(self._ledger, load.folder, segments, position)
        self._epoch = self._ledger.epoch()
        return went_back

    def _is_reconnected(self) -> bool:
        """Return, once for each time, whether it may be another ledger than the last time."""
        before, self._epoch = self._epoch, self._ledger.epoch()
        return before is not None and before != self._epoch

    def _deliver(self, folder: Path, records: Sequence[Record]) -> int:
        refused: list[tuple[Record, Exception]] = []
        self._append(records, refused)
        if not refused:
            return 0
        if len(refused) == len(records) and self._widening < _WIDENING_MAX:
            self._widening *= 2
        if len(refused) == len(records):
            raise LedgerRefusesAll(
                "ledger.refuses_all",
                f"the ledger took none of {len(records)} records: {refused[0][1]}",
                "see that the ledger's schema is the gateway's; the records wait in the journal",
            ) from refused[0][1]
        self._set_aside(folder, refused)
        return len(refused)

    def _append(self, records: Sequence[Record], refused: list[tuple[Record, Exception]]) -> None:
        """Append all, or halve until those that are refused stand alone."""
        self.steps += 1
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

    def _note(self, load: Load, batch: Unshipped) -> None:
        newest = load.segments[-1]
        checkpoint = Checkpoint(
            batch.position, load.journal_id, checksum(batch.last_line), newest.number, newest.end
        )
        try:
            write_checkpoint(load.folder, checkpoint)
        except OSError as error:
            # A full disk refuses the note; deleting is what helps it, and the ledger has it all.
            self._unnoted.note(error=error.strerror)

    def _set_aside(self, folder: Path, refused: Sequence[tuple[Record, Exception]]) -> None:
        entries = []
        for record, error in refused:
            self._aside.note(
                type(error).__name__,
                event_id=record.event_id,
                workspace_id=record.workspace_id,
                error=str(error),
                folder=str(folder),
                hint="correct the cause; what quarantine.jsonl holds is on no bill",
            )
            entries.append(
                {
                    "reason": "refused",
                    "error": str(error),
                    "set_aside_at_micro": self._clock.now_micro(),
                    "record": asdict(record),
                }
            )
        set_aside(folder, entries)
