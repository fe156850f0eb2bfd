"""A ledger that went back is noticed at each connect, and gets again what the journal keeps."""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from structlog.testing import capture_logs

from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.errors import LedgerUnavailable
from gateway.ledger.sql import SqlLedger
from gateway.metering.carrier import LedgerCarrier
from gateway.metering.courier import ThreadCourier
from gateway.metering.journal import Journal
from gateway.metering.ledger_watch import compare
from gateway.metering.quarantine import set_aside
from gateway.metering.shipper import Shipper
from gateway.rules.record import Record
from gateway.telemetry.metrics import ShipperStats
from tests.metering.journals import FixedClock, ids, journal_in, keep, record, until


@contextmanager
def ledger_in(file: Path) -> Iterator[SqlLedger]:
    engine = create_engine_for(f"sqlite:///{file}")
    migrate(engine)
    yield SqlLedger(engine)
    engine.dispose()


def copy_of(file: Path, to: Path) -> None:
    """Copy a database as an operator does."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def restore(copy: Path, file: Path) -> None:
    """Put a copy in the place of a database that no process has open."""
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, f"{file}.new")
    Path(f"{file}.new").replace(file)


def known(ledger: SqlLedger) -> list[str]:
    return ids(ledger.events(workspace_id=None, period=None, limit=100_000))


def made(
    folder: Path, ledger: SqlLedger, *, keep_seconds: float = 3600, keep_bytes_max: int = 1 << 20
) -> tuple[Journal, Shipper, ShipperStats]:
    journal = journal_in(
        folder / "journal",
        segment_bytes_max=2000,
        keep_seconds=keep_seconds,
        keep_bytes_max=keep_bytes_max,
    )
    stats = ShipperStats()
    courier = ThreadCourier(LedgerCarrier(ledger, FixedClock()))
    shipper = Shipper(
        journal, courier, clock=FixedClock(), stats=stats, interval_seconds=0.002, batch=10
    )
    return journal, shipper, stats


async def lived(folder: Path, file: Path, numbers: range, **options: float) -> None:
    """Let a gateway live that records and ships."""
    with ledger_in(file) as ledger:
        journal, shipper, _ = made(folder, ledger, **options)  # type: ignore[arg-type]
        for number in numbers:
            await keep(journal, [record(number)])
            await journal.flush()
        assert await shipper.flush(5)
        await shipper.close()
        await journal.close()


async def test_a_restored_ledger_gets_all_again(tmp_path: Path) -> None:
    """Design 13: restored from an older copy: noticed at connect, kept segments ship again."""
    file, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    await lived(tmp_path, file, range(30))
    copy_of(file, copy)
    await lived(tmp_path, file, range(30, 60))
    restore(copy, file)
    with ledger_in(file) as ledger, capture_logs() as lines:
        assert len(known(ledger)) == 30
        journal, shipper, stats = made(tmp_path, ledger)
        assert journal.unshipped_records == 0
        await keep(journal, [record(60)])
        assert await shipper.flush(5)
        assert journal.unshipped_records == 0
        assert known(ledger) == ids([record(number) for number in range(61)])
        assert (stats.ledger_went_back, stats.ledger_gaps) == (1, 0)
        (told,) = [line for line in lines if line["event"] == "ledger.went_back"]
        assert told["missing"] >= 30
        assert told["oldest_kept_micro"] == record(0).occurred_at_micro
        await shipper.close()
        await journal.close()
    with ledger_in(file) as ledger:
        journal, shipper, stats = made(tmp_path, ledger)
        assert await shipper.flush(5)
        assert stats.ledger_went_back == 0
        assert len(journal.reader.kept.segments) > 5
        await shipper.close()
        await journal.close()


async def test_a_loss_that_reaches_behind_what_is_kept_is_an_alarm(tmp_path: Path) -> None:
    file, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    await lived(tmp_path, file, range(5))
    copy_of(file, copy)
    await lived(tmp_path, file, range(5, 60), keep_seconds=3600, keep_bytes_max=5000)
    restore(copy, file)
    with ledger_in(file) as ledger, capture_logs() as lines:
        journal, shipper, stats = made(tmp_path, ledger, keep_bytes_max=5000)
        assert await shipper.flush(5)
        (told,) = [line for line in lines if line["event"] == "ledger.went_back"]
        assert told["is_older_lost"]
        assert told["oldest_kept_micro"] > record(10).occurred_at_micro
        assert (stats.ledger_went_back, stats.ledger_gaps) == (1, 1)
        kept = [
            one for one in range(60) if record(one).occurred_at_micro >= told["oldest_kept_micro"]
        ]
        assert known(ledger) == ids([record(one) for one in [*range(5), *kept]])
        await shipper.close()
        await journal.close()


async def test_a_ledger_that_is_replaced_under_a_running_gateway_is_noticed(
    tmp_path: Path,
) -> None:
    """As a failover is: without an error, in the middle of it all."""
    file, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    with ledger_in(file) as ledger:
        journal, shipper, stats = made(tmp_path, ledger)
        await keep(journal, [record(number) for number in range(20)])
        assert await shipper.flush(5)
        copy_of(file, copy)
        await keep(journal, [record(number) for number in range(20, 40)])
        assert await shipper.flush(5)
        restore(copy, file)
        await keep(journal, [record(40)])
        assert await shipper.flush(5)
        assert stats.ledger_went_back == 1
        assert known(ledger) == ids([record(number) for number in range(41)])
        assert (journal.unshipped_records, stats.errors) == (0, 0)
        await shipper.close()
        await journal.close()


class Door(SqlLedger):
    """A ledger that may be away, and counts how often it is compared."""

    is_away = False
    compared = 0

    def append(self, records: Sequence[Record]) -> int:
        if self.is_away:
            raise LedgerUnavailable("ledger.unavailable", "away", "")
        return super().append(records)

    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        self.compared += 1
        return super().known_events(event_ids)


async def test_a_ledger_that_was_away_is_compared_when_it_is_back(tmp_path: Path) -> None:
    engine = create_engine_for(f"sqlite:///{tmp_path / 'ledger.db'}")
    migrate(engine)
    ledger = Door(engine)
    journal, shipper, stats = made(tmp_path, ledger)
    await keep(journal, [record(number) for number in range(20)])
    assert await shipper.flush(5)
    assert ledger.compared == 0  # there was nothing to compare when it was first asked
    ledger.is_away = True
    shipper.start()
    await keep(journal, [record(20)])
    await until(lambda: stats.errors > 1)
    ledger.is_away = False
    await until(lambda: not journal.unshipped_records)
    assert ledger.compared
    assert stats.ledger_went_back == 0
    await shipper.close()
    await journal.close()
    engine.dispose()


async def test_what_the_ledger_refused_is_not_missed(tmp_path: Path) -> None:
    """It stands in the quarantine, whose lines are not believed for anything else."""
    file = tmp_path / "ledger.db"
    await lived(tmp_path, file, range(5))
    with ledger_in(file) as ledger:
        journal, shipper, _ = made(tmp_path, ledger)
        poison = record(7)
        await keep(journal, [poison])
        (journal.directory / "quarantine.jsonl").write_bytes(b'{"torn\n[1]\n{"record":7}\n\xff\n')
        set_aside(journal.directory, [{"record": {"event_id": poison.event_id}}])
        load = journal.load(10)
        end = load.segments[-1].end
        segments = [*journal.reader.kept.segments, *load.segments]
        position = load.position._replace(segment=load.segments[-1].number, offset=end)
        assert compare(ledger, journal.directory, segments, position) is None
        (journal.directory / "quarantine.jsonl").unlink()
        found = compare(ledger, journal.directory, segments, position)
        assert found is not None
        assert (found.missing, found.is_older_lost) == (1, False)
        await shipper.close()
        await journal.close()


async def test_what_is_kept_is_looked_at_and_shipped_again_if_it_was_altered(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ledger.db"
    await lived(tmp_path, file, range(30))
    oldest = min((tmp_path / "journal").glob("*.journal"))
    oldest.write_bytes(oldest.read_bytes().replace(b"STARTER", b"GRATIS!", 1))
    with ledger_in(file) as ledger:
        journal, shipper, _ = made(tmp_path, ledger)
        await shipper.verify_kept()
        assert journal.damages.counts.get("segment_altered")
        assert journal.unshipped_records >= 30
        assert await shipper.flush(5)
        assert len(known(ledger)) == 30
        await shipper.close()
        await journal.close()


async def test_what_is_kept_has_a_bound_and_a_time(tmp_path: Path) -> None:
    clock = FixedClock()
    journal = journal_in(
        tmp_path, segment_bytes_max=2000, keep_seconds=60, keep_bytes_max=6000, clock=clock
    )
    with ledger_in(tmp_path / "ledger.db") as ledger:
        courier = ThreadCourier(LedgerCarrier(ledger, FixedClock()))
        shipper = Shipper(
            journal, courier, clock=clock, stats=ShipperStats(), interval_seconds=1, batch=10
        )
        for number in range(60):
            await keep(journal, [record(number)])
            await journal.flush()
        assert await shipper.flush(5)
        kept = journal.reader.kept
        assert 3000 < kept.size_bytes <= 6000
        assert journal.bytes_held < 2500
        clock.at_micro += 61_000_000
        assert journal.reader.is_freeable
        journal.free()
        assert (kept.size_bytes, len(kept.segments)) == (0, 0)
        await shipper.close()
    await journal.close()
