"""The journal as a whole: nothing is released that is not kept, nothing is lost, nothing grows."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.metering.journal import Journal
from gateway.metering.recorder import Callback
from gateway.rules.record import Record
from gateway.telemetry.metrics import JournalStats
from tests.metering.journals import FixedClock, ids, journal_in, keep, mark, record, ship, until


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.journal"))


async def test_all_records_of_a_tick_go_in_one_write(tmp_path: Path) -> None:
    stats = JournalStats()
    journal = journal_in(tmp_path, stats=stats)
    assert await keep(journal, [record(number) for number in range(30)]) == [True] * 30
    assert (stats.writes, stats.records) == (1, 30)
    await journal.close()


async def test_a_record_that_comes_alone_is_written_at_once(tmp_path: Path) -> None:
    stats, clock = JournalStats(), FixedClock()
    journal = journal_in(tmp_path, stats=stats, clock=clock)
    told: list[int] = []

    async def appended(*numbers: int, after_micro: int) -> list[int]:
        """Return whose records were released before the tick ended."""
        told.clear()
        clock.at_micro += after_micro
        for number in numbers:
            journal.append(
                record(number), Callback(lambda _kept, number=number: told.append(number))
            )
        at_once = list(told)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told == list(numbers)
        return at_once

    assert await appended(1, after_micro=999) == [], "something may have come just before"
    assert await appended(2, after_micro=1000) == [2]
    assert await appended(3, 4, 5, after_micro=999) == [], "they share a write"
    assert stats.writes == 3
    assert await appended(6, 7, 8, after_micro=1000) == [6], "the others share a write"
    assert stats.writes == 5
    assert await appended(9, after_micro=999) == []
    assert await appended(10, after_micro=1000) == [10]
    await journal.close()
    assert (stats.writes, stats.records) == (7, 10)


async def test_a_tick_counts_as_the_last_write(tmp_path: Path) -> None:
    """A worker whose turns take long has much to do: its records still share their writes."""
    stats, clock = JournalStats(), FixedClock()
    journal = journal_in(tmp_path, stats=stats, clock=clock)

    def takes_long(_kept: bool) -> None:
        clock.at_micro += 1_000

    for turn in range(4):
        for number in range(5):
            journal.append(record(5 * turn + number), Callback(takes_long))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (stats.writes, stats.records) == (4, 20)
    await journal.close()


async def test_what_follows_a_slow_write_closely_shares_the_next(tmp_path: Path) -> None:
    """A slow disk has most need of writes that are shared."""
    stats, clock = JournalStats(), FixedClock()
    journal = journal_in(tmp_path, stats=stats, clock=clock)

    def takes_long(_kept: bool) -> None:
        clock.at_micro += 1_500

    clock.at_micro += 1_000
    for number in range(20):
        clock.at_micro += 5
        journal.append(record(number), Callback(takes_long))
    assert stats.writes == 1
    await journal.close()
    assert (stats.writes, stats.records) == (2, 20)


async def test_what_a_release_brings_waits_for_a_tick(tmp_path: Path) -> None:
    """Pipelined requests must not pile up on the stack, one within the release of the other."""
    stats, clock = JournalStats(), FixedClock()
    journal = journal_in(tmp_path, stats=stats, clock=clock)
    told: list[int] = []
    depth = 0

    def released(number: int) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        told.append(number)
        clock.at_micro += 1_000
        if number < 9:
            journal.append(record(number + 1), Callback(lambda _kept: released(number + 1)))
        depth -= 1

    clock.at_micro += 1_000
    journal.append(record(0), Callback(lambda _kept: released(0)))
    assert told == [0]
    await until(lambda: len(told) == 10)
    await journal.close()
    assert (stats.writes, stats.records) == (10, 10)


async def test_a_release_that_fails_keeps_those_from_waiting_that_came_meanwhile(
    tmp_path: Path,
) -> None:
    clock = FixedClock()
    journal = journal_in(tmp_path, clock=clock)
    told: list[bool] = []

    def fails(_kept: bool) -> None:
        journal.append(record(2), Callback(told.append))
        raise ValueError("this one is broken")

    clock.at_micro += 1_000
    with pytest.raises(ValueError, match="broken"):
        journal.append(record(1), Callback(fails))
    await until(lambda: told == [True])
    await journal.close()


async def test_what_is_written_at_once_is_in_the_file_too(tmp_path: Path) -> None:
    clock = FixedClock()
    journal = journal_in(tmp_path, clock=clock)
    clock.at_micro += 1_000
    sizes: list[int] = []
    journal.append(record(1), Callback(lambda _kept: sizes.append(size_of(tmp_path))))
    assert sizes == [size_of(tmp_path)]
    assert sizes[0] > 0
    await journal.close()
    again = journal_in(tmp_path)
    assert len(again.reader.read_unshipped(9).records) == 1
    await again.close()


async def test_a_record_is_in_the_file_before_its_request_is_released(tmp_path: Path) -> None:
    """X6: nothing answered is unrecorded."""
    journal = journal_in(tmp_path)
    sizes: list[int] = []
    journal.append(record(1), Callback(lambda _kept: sizes.append(size_of(tmp_path))))
    assert size_of(tmp_path) == 0
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sizes == [size_of(tmp_path)]
    assert sizes[0] > 0
    await journal.close()


async def test_corrections_are_handed_on_before_the_release(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    seen: list[object] = []
    journal.on_written = lambda records: seen.append(ids(records))
    for one in (record(1), record(2, owes=-1), record(3, run_key="idempotency:{ws}:r")):
        journal.append(one, Callback(seen.append))
    await until(lambda: len(seen) == 4)
    assert seen == [[record(2).event_id, record(3).event_id], True, True, True]
    assert journal.unacknowledged_count == 2
    await journal.close()


async def test_everything_held_is_replayed_after_a_restart(tmp_path: Path) -> None:
    first = journal_in(tmp_path)
    records = [record(number, owes=number % 3) for number in range(20)]
    await keep(first, records)
    first.acknowledge([records[1].event_id])
    await first.close()
    second = journal_in(tmp_path)
    assert list(second.reader.replay()) == records
    assert second.unshipped_records == 20
    owed = second.read_unacknowledged(None, 100).records
    assert ids(owed) == ids([one for one in records[2:] if one.deltas])
    await second.close()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 25))
def test_batches_are_shipped_once_in_order_over_any_restarts(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[int], limit: int
) -> None:
    """D1: with a restart after each tick and small segments, each record is read once, in order."""
    folder = tmp_path_factory.mktemp("journal")

    async def one_life(numbers: range) -> list[Record]:
        journal = journal_in(folder, segment_bytes_max=2000)
        await keep(journal, [record(number) for number in numbers])
        batch = journal.reader.read_unshipped(limit)
        mark(journal, batch)
        await journal.close()
        return batch.records

    shipped: list[Record] = []
    total = 0
    for count in ticks:
        shipped += asyncio.run(one_life(range(total, total + count)))
        total += count
    while len(shipped) < total:
        shipped += asyncio.run(one_life(range(0)))
    assert ids(shipped) == ids([record(number) for number in range(total)])


async def test_segments_go_when_shipped_and_acknowledged_and_not_before(tmp_path: Path) -> None:
    """D1: a segment is deleted only when nobody needs it any more."""
    journal = journal_in(tmp_path, segment_bytes_max=1)
    await keep(journal, [record(1)])
    await keep(journal, [record(2, owes=-1)])
    await keep(journal, [record(3)])
    assert len(list(tmp_path.glob("*.journal"))) == 4
    assert len(ship(journal)) == 3
    assert len(list(tmp_path.glob("*.journal"))) == 3
    journal.acknowledge([record(2).event_id])
    journal.free()
    assert len(list(tmp_path.glob("*.journal"))) == 1
    await journal.flush()
    ship(journal)
    await journal.close()


async def test_records_that_are_not_shipped_are_never_deleted(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, segment_bytes_max=1)
    for number in range(5):
        await keep(journal, [record(number)])
    mark(journal, journal.reader.read_unshipped(3))
    assert ids(ship(journal)) == ids([record(3), record(4)])
    await journal.close()


async def test_a_crash_before_the_checkpoint_ships_again_and_after_it_does_not(
    tmp_path: Path,
) -> None:
    """D1: whichever step a crash hits, no record is skipped."""
    journal = journal_in(tmp_path)
    await keep(journal, [record(1), record(2)])
    batch = journal.reader.read_unshipped(1)
    await journal.close()  # the ledger has the first, the checkpoint was never written
    journal = journal_in(tmp_path)
    assert journal.reader.read_unshipped(1).records == batch.records
    mark(journal, journal.reader.read_unshipped(1))
    await journal.close()
    journal = journal_in(tmp_path)
    assert ids(journal.reader.read_unshipped(9).records) == [record(2).event_id]
    await journal.close()


async def test_growth_is_bounded_and_ends_when_the_ledger_comes_back(tmp_path: Path) -> None:
    """X6: the ledger is away: the journal says when it is nearly full, and never goes beyond."""
    bound = 40_000
    journal = journal_in(tmp_path, bytes_max=bound)
    told: list[bool] = []
    while journal.is_available:
        told += await keep(journal, [record(len(told))])
    assert all(told)
    assert size_of(tmp_path) >= bound * 8 // 10
    while told[-1]:
        told += await keep(journal, [record(len(told))])
    assert size_of(tmp_path) <= bound
    kept = told.count(True)
    assert len(ship(journal)) == kept
    assert journal.is_available
    assert await keep(journal, [record(9999)]) == [True]
    await journal.close()


async def test_a_journal_over_its_bound_starts_unavailable(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    await keep(journal, [record(number) for number in range(40)])
    await journal.close()
    journal = journal_in(tmp_path, bytes_max=10_000)
    assert not journal.is_available
    ship(journal)
    assert journal.is_available
    await journal.close()


async def test_with_no_interval_a_request_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Design 8: settable to every write; all that wait share one fsync."""
    journal = journal_in(tmp_path, fsync_seconds=0)
    synced: list[int] = []
    really = journal._folder.sync
    monkeypatch.setattr(journal._folder, "sync", lambda: (synced.append(1), really())[1])
    assert await keep(journal, [record(number) for number in range(50)]) == [True] * 50
    assert len(synced) == 1
    assert journal.unshipped_records == 50
    await journal.close()


async def test_readers_do_not_see_what_awaits_its_fsync(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, fsync_seconds=0, segment_bytes_max=1)
    told: list[bool] = []
    journal.append(record(1), Callback(told.append))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (journal.reader.read_unshipped(9).records, told) == ([], [])
    await until(lambda: told)
    assert ids(ship(journal)) == [record(1).event_id]
    await journal.close()


async def test_a_failed_fsync_releases_nobody_and_keeps_nothing_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6: a disk that fails with EIO at fsync: the answers are not finished, nothing is billed."""
    stats = JournalStats()
    journal = journal_in(tmp_path, fsync_seconds=0, stats=stats)
    assert await keep(journal, [record(1)]) == [True]

    def broken() -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(journal._folder, "sync", broken)
        assert await keep(journal, [record(2), record(3)]) == [False, False]
        assert not journal.is_available
        assert await keep(journal, [record(4)]) == [False]
    await until(lambda: journal.is_available)
    assert await keep(journal, [record(5)]) == [True]
    await journal.close()
    assert stats.write_errors == 1
    again = journal_in(tmp_path)
    assert ids(list(again.reader.replay())) == ids([record(1), record(5)])
    await again.close()


async def test_one_record_that_can_not_be_written_fails_alone(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    bad = record(2, run_id="\udcff")
    assert await keep(journal, [record(1), bad, record(3)]) == [True, False, True]
    assert ids(ship(journal)) == ids([record(1), record(3)])
    await journal.close()


async def test_a_record_that_can_not_be_written_takes_no_other_with_it(tmp_path: Path) -> None:
    """X6: even if its request fails when it is told so."""
    journal = journal_in(tmp_path)
    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: errors.append(str(context["exception"]))
    )
    told: list[bool] = []

    def fails(kept: bool) -> None:
        assert not kept
        raise ValueError("this one is broken")

    journal.append(record(1), Callback(told.append))
    journal.append(record(2, run_id="\udcff"), Callback(fails))
    journal.append(record(3, run_id="\udcff"), Callback(told.append))
    journal.append(record(4), Callback(told.append))
    await until(lambda: len(told) == 3)
    assert (told, errors) == ([True, True, False], ["this one is broken"])
    assert ids(ship(journal)) == ids([record(1), record(4)])
    await journal.close()


async def test_a_release_that_fails_keeps_no_other_waiting(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: errors.append(str(context["exception"]))
    )
    told: list[bool] = []

    def fails(_kept: bool) -> None:
        raise ValueError("this one is broken")

    for number, released in enumerate((told.append, fails, told.append, told.append)):
        journal.append(record(number), Callback(released))
    await until(lambda: len(told) == 3)
    assert errors == ["this one is broken"]
    await journal.close()


async def test_the_disk_is_synced_only_when_something_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_in(tmp_path, fsync_seconds=0.001)
    synced: list[int] = []
    monkeypatch.setattr(journal._folder, "sync", lambda: synced.append(1))
    await keep(journal, [record(1)])
    await until(lambda: synced)
    await asyncio.sleep(0.01)
    assert len(synced) == 1
    await journal.close()


async def test_what_is_appended_after_the_end_is_not_kept(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    await journal.close()
    assert not journal.is_available
    assert await keep(journal, [record(1)]) == [False]


async def test_two_journals_on_one_folder_are_refused(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    other = Journal(
        tmp_path,
        clock=FixedClock(),
        stats=JournalStats(),
        fsync_seconds=1,
        segment_bytes_max=1000,
        bytes_max=10_000,
    )
    with pytest.raises(GatewayError) as refused:
        other.open()
    assert refused.value.code == "journal.locked"
    await journal.close()


async def test_nothing_is_owed_to_a_store_that_was_rebuilt(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    await keep(journal, [record(number, owes=-1) for number in range(2500)])
    journal.acknowledge_all()
    assert journal.unacknowledged_count == 0
    await asyncio.sleep(0.01)
    await journal.close()
    again = journal_in(tmp_path)
    assert again.unacknowledged_count == 0
    await again.close()
