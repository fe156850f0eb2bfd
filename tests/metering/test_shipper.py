"""E1: the shipper and a real ledger (SQLite): away and back, poison, crash points, drain."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.errors import GatewayError, LedgerUnavailable
from gateway.ledger.sql import SqlLedger
from gateway.metering.carrier import Carried, LedgerCarrier, LedgerRefusesAll, Load
from gateway.metering.courier import ThreadCourier
from gateway.metering.journal import Journal
from gateway.metering.quarantine import QUARANTINE_NAME
from gateway.metering.shipper import Shipper
from gateway.rules.record import Record
from gateway.telemetry.metrics import ShipperStats
from tests.metering.journals import FixedClock, ids, journal_in, keep, record, until

POISON = "poison"
"""A run id that the ledger of these tests refuses."""


class Ledger(SqlLedger):
    """The real ledger behind a door, and with one rule more about what it refuses."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.is_away = False
        self.is_broken = False
        self.answers = threading.Event()
        self.answers.set()
        self.calls = 0

    def append(self, records: Sequence[Record]) -> int:
        self.calls += 1
        assert self.answers.wait(10)
        if self.is_away:
            raise LedgerUnavailable("ledger.unavailable", "away", "")
        if self.is_broken or any(one.run_id == POISON for one in records):
            raise ValueError("no such column")
        return super().append(records)

    def ids(self) -> list[str]:
        return ids(self.events(workspace_id=None, period=None, limit=100_000))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    engine = create_engine_for(f"sqlite:///{tmp_path / 'ledger.db'}")
    migrate(engine)
    yield Ledger(engine)
    engine.dispose()


def made(
    folder: Path, ledger: Ledger, *, batch: int = 10, stats: ShipperStats | None = None
) -> tuple[Journal, Shipper]:
    journal = journal_in(folder / "journal", segment_bytes_max=2000)
    return journal, Shipper(
        journal,
        ThreadCourier(LedgerCarrier(ledger, FixedClock())),
        clock=FixedClock(),
        stats=stats or ShipperStats(),
        interval_seconds=0.002,
        batch=batch,
    )


async def test_records_arrive_in_the_background(tmp_path: Path, ledger: Ledger) -> None:
    """X6: metering is asynchronous and complete."""
    stats = ShipperStats()
    journal, shipper = made(tmp_path, ledger, stats=stats)
    shipper.start()
    await keep(journal, [record(number) for number in range(25)])
    await until(lambda: stats.shipped == 25)
    await shipper.close()
    assert ledger.ids() == ids([record(number) for number in range(25)])
    await shipper.measure()
    assert (stats.batches, stats.lag_records, stats.errors) == (3, 0, 0)
    assert stats.oldest_unshipped_micro == 0
    await journal.close()


async def test_the_ledger_may_go_and_come_back(tmp_path: Path, ledger: Ledger) -> None:
    """Design 13: ledger gone: nothing is lost, the journal's files go only afterwards."""
    stats = ShipperStats()
    journal, shipper = made(tmp_path, ledger, stats=stats)
    ledger.is_away = True
    shipper.start()
    await keep(journal, [record(number) for number in range(50)])
    await until(lambda: stats.errors > 1)
    assert not shipper.is_ledger_available
    await shipper.measure()
    assert (stats.lag_records, stats.oldest_unshipped_micro) == (50, record(0).occurred_at_micro)
    assert not await shipper.flush(0.01)
    ledger.is_away = False
    assert await shipper.flush(5)
    assert shipper.is_ledger_available
    await shipper.close()
    assert len(ledger.ids()) == 50
    await journal.flush()
    journal.free()
    assert len(list((tmp_path / "journal").glob("*.journal"))) == 1
    await journal.close()


async def test_a_ledger_that_comes_and_goes_is_not_told_of_each_time(
    tmp_path: Path, ledger: Ledger
) -> None:
    """And is asked again soon, however long it was away."""
    stats = ShipperStats()
    journal, shipper = made(tmp_path, ledger, stats=stats)
    shipper.start()
    with capture_logs() as lines:
        for number in range(3):
            errors = stats.errors
            ledger.is_away = True
            await keep(journal, [record(number)])
            await until(lambda count=errors: stats.errors > count)  # type: ignore[misc]
            ledger.is_away = False
            assert await shipper.flush(5)
    told = [line["event"] for line in lines if line["event"].startswith("shipper.")]
    assert told == ["shipper.ledger_away", "shipper.ledger_back"]
    shipper._interval_seconds, shipper._failures = 1.0, 10
    assert shipper._pause_seconds() == 5.0
    await shipper.close()
    await journal.close()


@pytest.mark.parametrize(
    ("error", "code", "traces"),
    [
        (GatewayError("database.unavailable", "away", "start it"), "database.unavailable", 0),
        (RuntimeError("a bug"), "shipper.failed", 1),
    ],
    ids=["not opened", "a bug"],
)
async def test_nothing_that_goes_wrong_ends_the_shipping(
    tmp_path: Path,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: str,
    traces: int,
) -> None:
    """X6: what is not shipped now is shipped later, without a restart."""
    stats = ShipperStats()
    journal, shipper = made(tmp_path, ledger, stats=stats)
    await keep(journal, [record(1)])

    async def fails(_load: Load) -> Carried:
        raise error

    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr(shipper._courier, "carry", fails)
        shipper.start()
        await until(lambda: stats.errors > 1)
        assert not shipper.is_ledger_available
    (away,) = [line for line in lines if line["event"] == "shipper.ledger_away"]
    assert (away["code"], away["unshipped"]) == (code, 1)
    traced = [line for line in lines if line.get("exc_info")]
    assert [line["event"] for line in traced] == ["shipper.failed"] * traces, "the first one"
    await until(lambda: shipper.is_ledger_available)
    assert ledger.ids() == [record(1).event_id]
    await shipper.close()
    await journal.close()


@pytest.mark.sources  # it takes the place of a method
async def test_a_failure_to_free_segments_does_not_end_the_shipping(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, shipper = made(tmp_path, ledger)
    await keep(journal, [record(number) for number in range(30)])

    def fails() -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "free", fails)
        shipper.start()
        await until(lambda: not shipper.is_ledger_available)
    await until(lambda: len(ledger.ids()) == 30 and shipper.is_ledger_available)
    await shipper.close()
    await journal.close()


async def test_a_batch_that_was_appended_but_not_noted_counts_once(
    tmp_path: Path, ledger: Ledger
) -> None:
    """D1: killed between the ledger's commit and the checkpoint: shipped again, counted once."""
    journal, shipper = made(tmp_path, ledger)
    await keep(journal, [record(number) for number in range(5)])
    ledger.append(journal.reader.read_unshipped(3).records)
    await journal.close()
    journal, shipper = made(tmp_path, ledger)
    assert await shipper.flush(5)
    assert ledger.ids() == ids([record(number) for number in range(5)])
    (total,) = ledger.charged_between(0, 2**60, meter="dc")
    assert total.charged_micro == 5_000_000
    await journal.close()


async def test_a_poison_record_is_set_aside_and_holds_nobody_up(
    tmp_path: Path, ledger: Ledger
) -> None:
    """T36: never dropped in silence, never in the way of others."""
    stats = ShipperStats()
    journal, shipper = made(tmp_path, ledger, stats=stats)
    bad = {3, 4, 17}
    records = [record(number, run_id=POISON if number in bad else None) for number in range(20)]
    await keep(journal, records)
    assert await shipper.flush(5)
    assert ledger.ids() == ids([one for one in records if one.run_id is None])
    lines = (tmp_path / "journal" / QUARANTINE_NAME).read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert [one["record"]["event_id"] for one in kept] == ids([records[at] for at in sorted(bad)])
    assert {one["error"] for one in kept} == {"no such column"}
    assert stats.errors == 3
    await journal.close()


async def test_more_poison_than_a_batch_is_set_aside_once_a_good_record_is_met(
    tmp_path: Path, ledger: Ledger
) -> None:
    journal, shipper = made(tmp_path, ledger, batch=2)
    await keep(journal, [record(number, run_id=POISON) for number in range(7)])
    assert not await shipper.flush(0.03)
    assert not (tmp_path / "journal" / QUARANTINE_NAME).exists()
    await keep(journal, [record(100)])
    assert await shipper.flush(5)
    assert ledger.ids() == [record(100).event_id]
    assert len((tmp_path / "journal" / QUARANTINE_NAME).read_text().splitlines()) == 7
    await journal.close()


async def test_a_ledger_that_refuses_everything_is_at_fault_itself(
    tmp_path: Path, ledger: Ledger
) -> None:
    """A ledger whose schema is wrong must not turn the whole journal into quarantine."""
    journal, shipper = made(tmp_path, ledger)
    ledger.is_broken = True
    await keep(journal, [record(number) for number in range(30)])
    with pytest.raises(LedgerRefusesAll):
        await shipper._courier.carry(journal.load(10))
    assert not await shipper.flush(0.02)
    ledger.is_broken = False
    assert await shipper.flush(5)
    assert len(ledger.ids()) == 30
    assert not (tmp_path / "journal" / QUARANTINE_NAME).exists()
    await journal.close()


@pytest.mark.sources  # a compiled record can't hold the wrong type
async def test_what_the_database_itself_refuses_is_poison_too(
    tmp_path: Path, ledger: Ledger
) -> None:
    journal, shipper = made(tmp_path, ledger)
    await keep(journal, [record(1), record(2, status=None), record(3)])
    assert await shipper.flush(5)
    assert ledger.ids() == ids([record(1), record(3)])
    assert record(2).event_id in (tmp_path / "journal" / QUARANTINE_NAME).read_text()
    await journal.close()


async def test_a_record_that_can_not_be_set_aside_stays_in_the_journal(
    tmp_path: Path, ledger: Ledger
) -> None:
    journal, shipper = made(tmp_path, ledger)
    await keep(journal, [record(1), record(2, run_id=POISON)])
    obstacle = tmp_path / "journal" / QUARANTINE_NAME
    obstacle.mkdir()  # a name that can't be opened for writing
    assert not await shipper.flush(0.01)
    assert journal.unshipped_records == 2
    obstacle.rmdir()
    assert await shipper.flush(5)
    assert record(2).event_id in obstacle.read_text()
    await journal.close()


async def test_the_end_waits_for_the_batch_that_is_under_way(
    tmp_path: Path, ledger: Ledger
) -> None:
    """Design 13, SIGTERM: journal flushed and shipped."""
    journal, shipper = made(tmp_path, ledger, batch=100)
    await keep(journal, [record(number) for number in range(100)])
    shipper.start()
    await until(lambda: ledger.calls)
    await shipper.close()
    assert len(ledger.ids()) == 100
    assert journal.unshipped_records == 0
    await journal.close()


async def test_a_ledger_that_hangs_holds_neither_numbers_nor_the_end_up(
    tmp_path: Path, ledger: Ledger
) -> None:
    """Design 13: whoever waits is told in time, and sees how far the ledger is behind."""
    stats = ShipperStats()
    journal, shipper = made(tmp_path, ledger, stats=stats)
    await keep(journal, [record(1)])
    assert await shipper.flush(5)
    ledger.answers.clear()
    shipper.start()
    await keep(journal, [record(number) for number in range(2, 30)])
    await until(lambda: ledger.calls == 2)
    await shipper.measure()
    assert (stats.lag_records, stats.oldest_unshipped_micro) == (28, record(2).occurred_at_micro)
    assert not await shipper.flush(0.01)
    await shipper.close(0.01)
    ledger.answers.set()
    assert journal.unshipped_records == 28
    journal, shipper = await reopened(journal, tmp_path, ledger)
    assert await shipper.flush(5)
    assert len(ledger.ids()) == 29
    await journal.close()


async def reopened(journal: Journal, folder: Path, ledger: Ledger) -> tuple[Journal, Shipper]:
    await journal.close()
    return made(folder, ledger)


async def test_a_journal_that_can_not_be_read_keeps_nobody_from_its_numbers(
    tmp_path: Path, ledger: Ledger
) -> None:
    stats = ShipperStats()
    journal, shipper = made(tmp_path, ledger, stats=stats)
    await keep(journal, [record(1)])
    (path,) = (tmp_path / "journal").glob("*.journal")
    path.rename(tmp_path / "elsewhere")
    path.mkdir()
    await shipper.measure()
    assert (stats.lag_records, stats.oldest_unshipped_micro) == (1, 0)
    path.rmdir()
    await journal.close()


async def test_at_rest_no_batch_is_under_way(tmp_path: Path, ledger: Ledger) -> None:
    journal, shipper = made(tmp_path, ledger)
    await keep(journal, [record(1)])
    assert not await shipper.flush(0)
    assert shipper._batches

    await shipper.rest()

    assert not shipper._batches
    assert ledger.ids() == [record(1).event_id]
    await shipper.close()
    await journal.close()
