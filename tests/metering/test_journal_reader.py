"""Reading behind the writer: what is damaged is skipped and said, nothing is skipped in silence."""

import json
import zlib
from pathlib import Path

from gateway.metering.journal_format import Position
from gateway.metering.quarantine import QUARANTINE_NAME
from tests.metering.journals import ids, journal_in, keep, mark, record, ship


async def test_a_line_damaged_while_it_waits_is_skipped(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    await keep(journal, [record(1), record(2), record(3)])
    (path,) = tmp_path.glob("*.journal")
    path.write_bytes(path.read_bytes().replace(b"req-2", b"req-9"))
    assert ids(ship(journal)) == ids([record(1), record(3)])
    await journal.close()


async def test_a_whole_line_that_is_no_record_is_set_aside(tmp_path: Path) -> None:
    payload = b'["not","a","record"]'
    line = b"R%08x %b\n" % (zlib.crc32(payload, zlib.crc32(b"R")), payload)
    (tmp_path / "000000000001.v1.journal").write_bytes(line)
    journal = journal_in(tmp_path)
    assert ship(journal) == []
    kept = json.loads((tmp_path / QUARANTINE_NAME).read_text())
    assert (kept["reason"], kept["line"]) == ("unreadable", payload.decode())
    assert list(journal.replay()) == []
    await journal.close()


async def test_the_oldest_that_is_not_shipped_is_known(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes_max=1)
    assert journal.oldest_unshipped_micro() == 0
    for number in range(3):
        await keep(journal, [record(number, owes=1)])
    journal.acknowledge([record(0).event_id])
    await journal.flush()
    assert journal.oldest_unshipped_micro() == record(0).occurred_at_micro
    mark(journal, journal.read_unshipped(1))
    assert journal.oldest_unshipped_micro() == record(1).occurred_at_micro
    ship(journal)
    assert journal.oldest_unshipped_micro() == 0
    await journal.close()


async def test_owed_corrections_are_found_page_by_page(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes_max=1000)
    for number in range(30):
        await keep(journal, [record(number, owes=number % 2)])
    position: Position | None = None
    found: list[str] = []
    while batch := journal.read_unacknowledged(position, 4).records:
        found += ids(batch)
        position = journal.read_unacknowledged(position, 4).position
    assert found == ids([record(number) for number in range(1, 30, 2)])
    assert all(journal.is_owed(hold_id) for hold_id in found)
    journal.acknowledge(found[:-1])
    assert ids(journal.read_unacknowledged(None, 9).records) == found[-1:]
    await journal.close()


async def test_a_segment_that_can_not_be_deleted_stays_and_is_said(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes_max=1)
    await keep(journal, [record(1)])
    (path,) = [file for file in tmp_path.glob("*.journal") if file.stat().st_size]
    await journal.flush()
    path.unlink()
    path.mkdir()
    batch = journal._reader.shipped._replace(segment=2, offset=0)
    journal._reader.shipped = batch
    journal.free()
    assert path.exists()
    path.rmdir()
    journal.free()
    assert journal.bytes_held == 0
    await journal.close()
