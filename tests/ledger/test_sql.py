"""Two processes at once, malformed rows, replays, and sums that a rebuild relies on."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from gateway.database.engine import create_engine_for
from gateway.errors import GatewayError, LedgerUnavailable
from gateway.ledger.sql import ROWS_ASKED_MAX, SqlLedger
from gateway.rules.record import Record
from gateway.rules.units import MICRO

START = 1_763_640_000_000_000
DAY_MICRO = 86_400 * MICRO


def record(number: int, **facts: object) -> Record:
    made = Record(
        event_id=f"0{number:07d}-0000-7000-8000-000000000000", request_id=f"r{number}",
        occurred_at_micro=START + number, workspace_id="acme", key_id="k", plan="STARTER",
        route="runs", method="POST", run_id=None, status=200, outcome="completed", code=None,
        billable=True, reason="success", repeat=False, quantities_micro={"dc": MICRO},
        charged_micro={"dc": MICRO}, pricing_version="v", period="2025-11",
    )  # fmt: skip
    return replace(made, **facts)  # type: ignore[arg-type]


@pytest.fixture
def ledger(database: Engine) -> SqlLedger:
    return SqlLedger(database)


def billed_events(ledger: SqlLedger) -> list[str]:
    events = ledger.events(workspace_id="acme", period=None, limit=100_000)
    return [event.event_id for event in events if event.billable]


def month(ledger: SqlLedger, meter: str = "dc") -> tuple[int, int, int]:
    (row,) = (r for r in ledger.usage(workspace_id="acme", period="2025-11") if r.meter == meter)
    return row.requests, row.billable_events, row.charged_micro


def at_once(work: Callable[[int], int], workers: int) -> list[int]:
    barrier = threading.Barrier(workers)

    def begin(number: int) -> int:
        barrier.wait(10)
        return work(number)

    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(begin, range(workers)))


@pytest.mark.parametrize("runs", [7, 200])
def test_shippers_that_race_with_one_batch_insert_it_once(
    migrated_url: str, ledger: SqlLedger, runs: int
) -> None:
    """D1: shippers after a failover, each with its own connections; with and without run ids."""
    records = [
        record(number, run_id=f"run{number % runs}" if runs < 200 else None)
        for number in range(200)
    ]
    ledgers = [SqlLedger(create_engine_for(migrated_url)) for _ in range(4)]

    def ship(number: int) -> int:
        mine = records if number % 2 else list(reversed(records))
        return sum(ledgers[number].append(mine[i : i + 50]) for i in range(0, 200, 50))

    assert sum(at_once(ship, 4)) == 200
    for each in ledgers:
        each.close()
    assert len(billed_events(ledger)) == runs
    assert month(ledger) == (200, runs, runs * MICRO)


def test_workers_that_race_with_one_run_bill_it_once(migrated_url: str, ledger: SqlLedger) -> None:
    """A7: 50 copies of one run from five workers, one charge, 49 duplicates."""
    ledgers = [SqlLedger(create_engine_for(migrated_url)) for _ in range(5)]

    def ship(number: int) -> int:
        copies = [record(number * 10 + copy, run_id="run") for copy in range(10)]
        return sum(ledgers[number].append(copies[i : i + 2]) for i in range(0, 10, 2))

    assert sum(at_once(ship, 5)) == 50
    for each in ledgers:
        each.close()
    assert len(billed_events(ledger)) == 1
    (row,) = (r for r in ledger.usage(workspace_id="acme", period=None) if r.meter == "dc")
    assert (row.requests, row.repeats, row.charged_micro) == (50, 49, MICRO)


def test_the_first_of_a_batch_is_the_one_that_is_billed(ledger: SqlLedger) -> None:
    late = record(1, run_id="run", occurred_at_micro=START + 100)
    early = record(2, run_id="run", occurred_at_micro=START)
    ledger.append([late, early])
    assert billed_events(ledger) == [early.event_id]


def claimant(number: int, **facts: object) -> Record:
    """Return a repeat that was billable."""
    return record(
        number, run_id="run", billable=False, repeat=True, reason="repeat", charged_micro={"dc": 0},
        claimed_reason="success", quantities_micro={"dc": 2 * MICRO}, **facts,
    )  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("is_first_late", [False, True])
def test_a_repeat_is_billed_if_the_first_try_of_its_run_is_not(
    ledger: SqlLedger, batch: int, is_first_late: bool
) -> None:
    """A7, T5: whichever arrives first, together or apart, and once however often."""
    failed = record(
        1, run_id="run", status=503, billable=False, reason="http_5xx", charged_micro={"dc": 0}
    )
    records = [claimant(2), failed] if is_first_late else [failed, claimant(2)]
    for _ in range(2):
        for start in range(0, 2, batch):
            ledger.append(records[start : start + batch])

    events = ledger.events(workspace_id="acme", period=None)
    assert [(e.billable, e.repeat, e.reason) for e in events] == [
        (False, False, "http_5xx"),
        (True, False, "success"),
    ]
    assert events[1].charged_micro == events[1].quantities_micro == {"dc": 2 * MICRO}
    assert month(ledger) == (2, 1, 2 * MICRO)
    assert month(ledger, "requests") == (2, 1, MICRO)
    assert ledger.billing_event("acme", "run") == (claimant(2).event_id, START + 2)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_of_a_first_try_and_repeats_that_are_billable_one_is_billed(
    ledger: SqlLedger, batch: int, order: tuple[int, ...]
) -> None:
    """A7: in one batch the oldest; apart, what comes first."""
    tries = {1: record(1, run_id="run"), 2: claimant(2), 3: claimant(3)}
    records = [tries[number] for number in order]
    for start in range(0, 3, batch):
        ledger.append(records[start : start + batch])

    billed = tries[order[0] if batch == 1 else 1]
    assert billed_events(ledger) == [billed.event_id]
    (row,) = (r for r in ledger.usage(workspace_id="acme", period=None) if r.meter == "dc")
    assert (row.requests, row.repeats, row.billable_events) == (3, 2, 1)


def test_a_claim_after_the_retention_is_of_another_run(ledger: SqlLedger) -> None:
    later = START + 46 * DAY_MICRO
    ledger.append([record(1, run_id="run")])
    ledger.append([claimant(2), claimant(3, occurred_at_micro=later)])
    ledger.append([claimant(4, occurred_at_micro=later + 1)])
    assert billed_events(ledger) == [record(1).event_id, record(3).event_id]


def test_workers_that_race_with_claims_bill_one(migrated_url: str, ledger: SqlLedger) -> None:
    ledgers = [SqlLedger(create_engine_for(migrated_url)) for _ in range(5)]

    def ship(number: int) -> int:
        copies = [claimant(number * 10 + copy) for copy in range(10)]
        return sum(ledgers[number].append(copies[i : i + 2]) for i in range(0, 10, 2))

    assert sum(at_once(ship, 5)) == 50
    for each in ledgers:
        each.close()
    assert len(billed_events(ledger)) == 1
    assert month(ledger) == (50, 1, 2 * MICRO)


def test_runs_of_other_workspaces_and_unnamed_runs_are_nobodys_repeat(ledger: SqlLedger) -> None:
    ledger.append(
        [
            record(1, run_id="run"),
            record(2, run_id="run", workspace_id="beta"),
            record(3),
            record(4),
            record(5, run_id=record(5).event_id),
        ]
    )
    events = ledger.events(workspace_id=None, period=None)
    assert [event.billable for event in events] == [True] * 5


def test_an_old_journal_shipped_late_is_billed_as_if_in_time(ledger: SqlLedger) -> None:
    """A7: the retention counts between the events, whichever arrives first."""
    ledger.append([record(2, run_id="run", occurred_at_micro=START + 46 * DAY_MICRO)])
    ledger.append([record(1, run_id="run")])
    ledger.append([record(3, run_id="run", occurred_at_micro=START + 90 * DAY_MICRO)])
    assert len(billed_events(ledger)) == 2
    ledger.append([record(2, run_id="run", occurred_at_micro=START + 46 * DAY_MICRO)])
    assert len(ledger.events(workspace_id=None, period=None)) == 3


def test_the_retention_is_the_pricing_files(database: Engine) -> None:
    ledger = SqlLedger(database, run_retention_seconds=60)
    ledger.append([record(1, run_id="run")])
    ledger.append([record(2, run_id="run", occurred_at_micro=START + 59 * MICRO)])
    ledger.append([record(3, run_id="run", occurred_at_micro=START + 61 * MICRO)])
    assert billed_events(ledger) == [record(1).event_id, record(3).event_id]


def test_a_correction_of_a_run_is_no_repeat_of_it(ledger: SqlLedger) -> None:
    """D1: it may name the run that it corrects, and be appended twice."""
    charge = record(1, run_id="run")
    back = record(
        2, run_id="run", reason="correction", quantities_micro={"dc": -MICRO},
        charged_micro={"dc": -MICRO},
    )  # fmt: skip
    for _ in range(2):
        ledger.append([charge, back])
    assert month(ledger) == (1, 0, 0)
    assert month(ledger, "requests") == (1, 0, 0)
    for meter in ("dc", "requests"):
        (total,) = ledger.charged_between(0, 2 * START, meter=meter)
        assert (total.charged_micro, total.events) == (0, 0)


def test_a_malformed_record_is_blamed_and_nothing_of_its_batch_is_kept(
    ledger: SqlLedger,
) -> None:
    """The shipper sets such a record aside; it must not take the database for dead."""
    poison = record(2, request_id=None)
    with pytest.raises(GatewayError) as caught:
        ledger.append([record(1), poison])
    assert caught.value.code == "database.refused_data"
    assert not isinstance(caught.value, LedgerUnavailable)
    assert ledger.events(workspace_id=None, period=None) == []
    assert ledger.append([record(1)]) == 1


def test_a_number_that_no_database_holds_is_not_a_dead_database(ledger: SqlLedger) -> None:
    with pytest.raises(GatewayError, match=r"out of range|too large") as caught:
        ledger.append([record(1, bytes_in=2**70)])
    assert caught.value.code == "database.refused_data"


def test_a_database_without_tables_is_a_ledger_unavailable(database_url: str) -> None:
    ledger = SqlLedger(create_engine_for(database_url))
    with pytest.raises(LedgerUnavailable) as caught:
        ledger.append([record(1)])
    assert "the tables" in caught.value.hint
    ledger.close()


def test_pages_of_events_follow_each_other_with_their_quantities(ledger: SqlLedger) -> None:
    count = ROWS_ASKED_MAX + 7
    records = [record(number, workspace_id=f"ws{number % 2}") for number in range(count)]
    ledger.append(records)
    assert ledger.events(workspace_id=None, period=None, limit=count) == records
    found: list[Record] = []
    while page := ledger.events(
        workspace_id="ws1",
        period="2025-11",
        after_event_id=found[-1].event_id if found else "",
        limit=200,
    ):
        found += page
    assert found == records[1::2]
    assert ledger.events(workspace_id=None, period="2025-12") == []


def test_a_long_replay_finds_the_holders_of_all_its_runs(ledger: SqlLedger) -> None:
    count = ROWS_ASKED_MAX + 7
    records = [record(number, run_id=f"run{number}") for number in range(count)]
    copies = [record(number + count, run_id=f"run{number}") for number in range(count)]
    assert ledger.append(records) == count
    assert ledger.append([*records, *copies]) == count
    assert month(ledger) == (2 * count, count, count * MICRO)


def test_sums_for_a_rebuild_agree_with_rollups_for_every_meter(ledger: SqlLedger) -> None:
    """N3: by key and route, the meter ``requests`` too."""
    ledger.append(
        [
            record(1, key_id="a", route="x", quantities_micro={"dc": 5}, charged_micro={"dc": 5}),
            record(2, key_id=None, route=None),
            record(3, quantities_micro={"dc": 0}, charged_micro={"dc": 0}),
            record(4, billable=False, charged_micro={"dc": 0}),
            record(5, workspace_id=None),
        ]
    )
    for meter in ("dc", "requests"):
        totals = list(ledger.charged_between(START, START + 100, meter=meter))
        assert all(total.meter == meter for total in totals)
        charged = sum(total.charged_micro for total in totals)
        events = sum(total.events for total in totals)
        assert (events, charged) == month(ledger, meter)[1:]
    keys = {
        (total.key_id, total.route): total.charged_micro
        for total in ledger.charged_between(START, START + 100, meter="dc")
    }
    assert keys == {("a", "x"): 5, ("", ""): MICRO, ("k", "runs"): 0}


def test_billed_runs_are_listed_newest_first_and_bounded(ledger: SqlLedger) -> None:
    ledger.append([record(number, run_id=f"run{number}") for number in range(5)])
    ledger.append([record(9, run_id="free", billable=False)])
    newest = list(ledger.runs_since(START + 1, limit=3))
    assert newest == [("acme", f"run{n}", START + n) for n in (4, 3, 2)]
    assert len(list(ledger.runs_since(START + 1, limit=100))) == 4


def test_rollups_can_be_had_for_a_period_an_hour_and_everybody(ledger: SqlLedger) -> None:
    ledger.append(
        [
            record(1),
            record(2, workspace_id="beta", period="2025-12"),
            record(3, occurred_at_micro=START + 3600 * MICRO),
        ]
    )

    def buckets(*, period: str | None, hourly: bool) -> list[tuple[str, str]]:
        rows = ledger.usage(workspace_id=None, period=period, hourly=hourly)
        return [(row.workspace_id, row.bucket) for row in rows if row.meter == "dc"]

    assert buckets(period=None, hourly=False) == [("acme", "2025-11"), ("beta", "2025-12")]
    assert buckets(period="2025-12", hourly=False) == [("beta", "2025-12")]
    assert buckets(period="2025-11", hourly=True) == [
        ("acme", "2025-11-20T12:00Z"),
        ("acme", "2025-11-20T13:00Z"),
    ]
    assert len(ledger.usage(workspace_id=None, period=None, limit=1)) == 1


def test_a_batch_that_the_ledger_has_in_part_adds_the_rest(ledger: SqlLedger) -> None:
    """D1: events, quantities and sums of the new ones alone, wherever they stand in the batch."""
    assert ledger.append([record(number) for number in (2, 4, 5)]) == 3
    again = [record(number, run_id=f"run{number}") for number in (5, 1, 2, 3, 4, 6)]
    assert ledger.append(again) == 3
    assert ledger.append([*again, *again]) == 0
    assert month(ledger) == (6, 6, 6 * MICRO)
    events = ledger.events(workspace_id=None, period=None)
    assert [(event.request_id, event.run_id) for event in events] == [
        ("r1", "run1"), ("r2", None), ("r3", "run3"), ("r4", None), ("r5", None), ("r6", "run6"),
    ]  # fmt: skip
    assert all(event.quantities_micro == {"dc": MICRO} for event in events)


def test_an_append_that_fails_midway_leaves_nothing(ledger: SqlLedger, database: Engine) -> None:
    """Events, quantities, runs and sums are one transaction."""
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE usage_rollups RENAME TO elsewhere"))
    with pytest.raises(LedgerUnavailable):
        ledger.append([record(1, run_id="run")])
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO usage_rollups"))
    assert ledger.events(workspace_id=None, period=None) == []
    assert list(ledger.runs_since(0, limit=1)) == []
    assert ledger.append([record(1, run_id="run")]) == 1
    assert month(ledger) == (1, 1, MICRO)
