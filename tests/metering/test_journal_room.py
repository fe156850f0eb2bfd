"""A ledger on the same full disk comes free again, without anybody making room."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.ledger.sql import SqlLedger
from gateway.metering.carrier import LedgerCarrier
from gateway.metering.courier import ThreadCourier
from gateway.metering.journal import Journal
from gateway.metering.shipper import Shipper
from gateway.telemetry.metrics import ShipperStats
from tests.metering.journals import FixedClock, ids, journal_in, keep, record, ship, until

MIB = 1 << 20


@contextmanager
def disk(size: str) -> Iterator[Path]:
    """Mount a file system of this size; skip where that is not permitted."""
    folder = Path(tempfile.mkdtemp())
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def fill(path: Path) -> None:
    """Take all that is left of a disk."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@contextmanager
def ledger_on(folder: Path) -> Iterator[SqlLedger]:
    engine = create_engine_for(f"sqlite:///{folder / 'ledger.db'}")
    migrate(engine)
    yield SqlLedger(engine)
    engine.dispose()


def shipper_of(journal: Journal, ledger: SqlLedger) -> tuple[Shipper, ShipperStats]:
    stats = ShipperStats()
    courier = ThreadCourier(LedgerCarrier(ledger, FixedClock()))
    made = Shipper(
        journal, courier, clock=FixedClock(), stats=stats, interval_seconds=0.01, batch=1000
    )
    return made, stats


async def keep_until_full(journal: Journal, number: int) -> list[int]:
    """Append until the journal takes no more; return the numbers that it kept."""
    kept: list[int] = []
    while journal.is_available:
        told = await keep(journal, [record(number + each) for each in range(50)])
        kept += [number + each for each, is_kept in enumerate(told) if is_kept]
        number += 50
    return kept


async def test_a_ledger_on_the_same_full_disk_takes_what_is_held() -> None:
    """Design 13: a foreign file takes the last byte, and stays."""
    with disk("24m") as folder, ledger_on(folder) as ledger:
        journal = journal_in(
            folder / "journal", segment_bytes_max=MIB, bytes_max=8 * MIB, reserve_bytes=6 * MIB
        )
        shipper, _ = shipper_of(journal, ledger)
        assert (folder / "journal" / "reserve").stat().st_size == 6 * MIB
        kept = list(range(3000))
        for number in range(0, 3000, 100):
            await keep(journal, [record(number + each) for each in range(100)])
        fill(folder / "foreign")
        foreign_bytes = (folder / "foreign").stat().st_size
        shipper.start()
        await until(lambda: not journal.unshipped_records, rounds=20_000)
        await until(lambda: journal.is_available)
        kept += await keep_until_full(journal, 10_000)
        assert len(kept) > 3000
        await until(lambda: not journal.unshipped_records, rounds=20_000)
        assert (folder / "foreign").stat().st_size == foreign_bytes
        expected = ids([record(number) for number in kept])
        found = ids(ledger.events(workspace_id=None, period=None, limit=100_000))
        assert set(expected) <= set(found)
        await shipper.close()
        await journal.close()


async def test_it_comes_free_again_and_again_until_the_disk_holds_no_more() -> None:
    """Journal and ledger fill the disk themselves; whatever was answered is in the ledger."""
    with disk("20m") as folder, ledger_on(folder) as ledger:
        journal = journal_in(
            folder / "journal",
            segment_bytes_max=MIB,
            bytes_max=12 * MIB,
            reserve_bytes=4 * MIB,
            keep_seconds=3600,
            keep_bytes_max=3 * MIB,
        )
        shipper, _ = shipper_of(journal, ledger)
        shipper.start()
        kept: list[int] = []
        for number in range(0, 60_000, 50):
            if not journal.is_available:
                break
            told = await keep(journal, [record(number + each) for each in range(50)])
            kept += [number + each for each, is_kept in enumerate(told) if is_kept]
            await until(lambda: journal.unshipped_records < 500 or not journal.is_available)
            if not journal.is_available:
                with suppress(AssertionError):
                    await until(lambda: journal.is_available, rounds=300)
        await until(lambda: not journal.unshipped_records, rounds=20_000)
        assert not journal.is_available
        assert len(kept) > 5000
        found = ids(ledger.events(workspace_id=None, period=None, limit=1_000_000))
        assert sorted(found) == ids([record(number) for number in sorted(kept)])
        await shipper.close()
        await journal.close()


async def test_what_is_kept_goes_before_what_is_set_aside() -> None:
    with disk("8m") as folder:
        journal = journal_in(
            folder / "journal",
            segment_bytes_max=100_000,
            bytes_max=4 * MIB,
            reserve_bytes=MIB,
            keep_seconds=3600,
            keep_bytes_max=3 * MIB,
        )
        for number in range(0, 4000, 50):
            await keep(journal, [record(number + each) for each in range(50)])
            await journal.flush()
            ship(journal)
        assert journal.reader.kept.size_bytes > 500_000
        fill(folder / "foreign")
        assert await journal.make_room()
        assert journal.reader.kept.size_bytes < 100_000
        await journal.close()


async def test_nothing_is_done_where_there_is_room(tmp_path: Path) -> None:
    """A ledger may fail for other reasons."""
    journal = journal_in(tmp_path, reserve_bytes=MIB)
    assert not await journal.make_room()
    assert journal.is_available
    assert (tmp_path / "reserve").stat().st_size == MIB
    await journal.close()
    again = journal_in(tmp_path)
    assert (again.is_available, again.damages.counts) == (True, {})
    await again.close()
