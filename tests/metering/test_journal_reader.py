"""Reading behind the writer: what is damaged is skipped and said, nothing is skipped in silence."""

import zlib
from pathlib import Path

import pytest

from gateway.metering.journal_format import Position
from tests.metering.journals import ids, journal_in, keep, mark, record, ship


@pytest.mark.parametrize("is_reopened", [False, True])
async def test_a_line_damaged_while_it_waits_is_told_of(
    tmp_path: Path, *, is_reopened: bool
) -> None:
    journal = journal_in(tmp_path)
    await keep(journal, [record(1), record(2), record(3, owes=1), record(4)])
    journal.acknowledge([record(3).event_id])
    await journal.flush()
    (path,) = tmp_path.glob("*.journal")
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    damaged = whole.replace(b"req-2", b"req-9").replace(last, last.upper())
    path.write_bytes(damaged)
    if is_reopened:
        await journal.close()
        journal = journal_in(tmp_path)
    assert journal.unshipped_records == 4
    batch = journal.reader.read_unshipped(9)
    assert (ids(batch.records), batch.count) == (ids([record(n) for n in (1, 3, 4)]), 4)
    lost = [entry["line"] for entry in batch.unreadable]
    assert lost == [line.decode() for line in damaged.splitlines(keepends=True)[1::3]]
    mark(journal, batch)
    assert journal.unshipped_records == 0
    await journal.close()


async def test_a_batch_of_damaged_lines_has_its_bounds(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    await keep(journal, [record(number) for number in range(5)])
    (path,) = tmp_path.glob("*.journal")
    path.write_bytes(path.read_bytes().replace(b"STARTER", b"GRATIS!"))
    batches = [journal.reader.read_unshipped(2)]
    while batches[-1].count:
        mark(journal, batches[-1])
        batches.append(journal.reader.read_unshipped(2))
    assert [len(batch.unreadable) for batch in batches] == [2, 2, 1, 0]
    await journal.close()


async def test_a_whole_line_that_is_no_record_is_told_of(tmp_path: Path) -> None:
    payload = b'["not","a","record"]'
    line = b"R%08x %b\n" % (zlib.crc32(payload, zlib.crc32(b"R")), payload)
    (tmp_path / "000000000001.v1.journal").write_bytes(line)
    journal = journal_in(tmp_path)
    (kept,) = journal.reader.read_unshipped(9).unreadable
    assert (kept["reason"], kept["line"]) == ("unreadable", payload.decode())
    assert ship(journal) == []
    assert journal.unshipped_records == 0
    assert list(journal.reader.replay()) == []
    await journal.close()


async def test_the_oldest_that_is_not_shipped_is_known(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes_max=1)
    assert journal.reader.oldest_unshipped_micro() == 0
    for number in range(3):
        await keep(journal, [record(number, owes=1)])
    journal.acknowledge([record(0).event_id])
    await journal.flush()
    assert journal.reader.oldest_unshipped_micro() == record(0).occurred_at_micro
    mark(journal, journal.reader.read_unshipped(1))
    assert journal.reader.oldest_unshipped_micro() == record(1).occurred_at_micro
    ship(journal)
    assert journal.reader.oldest_unshipped_micro() == 0
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
    assert set(found) <= journal.reader.unacknowledged.keys()
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
    batch = journal.reader.shipped._replace(segment=2, offset=0)
    journal.reader.shipped = batch
    journal.free()
    assert path.exists()
    path.rmdir()
    journal.free()
    assert journal.bytes_held == 0
    await journal.close()
