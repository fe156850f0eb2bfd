"""One suite over the ledger on SQLite and PostgreSQL: once, append-only, sums that agree."""

import shutil
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.database.engine import create_engine_for
from gateway.errors import LedgerUnavailable
from gateway.ledger import sql
from gateway.ledger.rollups import SUM_MAX_MICRO
from gateway.ledger.sql import SqlLedger
from gateway.rules.record import Record
from gateway.rules.units import MICRO, QUANTITY_UNITS_MAX

START = 1_763_640_000_000_000


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


def charged(ledger: SqlLedger) -> int:
    return sum(
        row.charged_micro
        for row in ledger.usage(workspace_id="acme", period="2025-11")
        if row.meter == "dc"
    )


def test_event_is_inserted_once_however_often_it_is_shipped(ledger: SqlLedger) -> None:
    """D1: append is idempotent by event id; rollups count new rows only."""
    records = [record(number) for number in range(10)]

    assert ledger.append(records) == 10
    assert ledger.append(records) == 0
    assert ledger.append([*records[5:], record(10)]) == 1
    assert charged(ledger) == 11 * MICRO
    assert ledger.append([]) == 0


def test_it_says_what_it_has(ledger: SqlLedger) -> None:
    records = [record(number) for number in range(2_100)]  # more than one question takes
    ledger.append(records[:-1])

    known = ledger.known_events([one.event_id for one in records])

    assert known == {one.event_id for one in records[:-1]}
    assert ledger.known_events([]) == set()


def test_its_epoch_changes_with_each_connect(
    ledger: SqlLedger, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Design 13: a standby that took over is noticed, though no call failed."""
    monkeypatch.setattr(sql, "monotonic", lambda: 7.0)
    ledger.append([record(1)])
    epoch = ledger.epoch()
    ledger.append([record(2)])
    assert ledger.epoch() == epoch

    database.dispose()
    ledger.append([record(3)])

    assert ledger.epoch() != epoch
    assert ledger.known_events([record(each).event_id for each in range(5)]) == {
        record(each).event_id for each in (1, 2, 3)
    }


def test_the_epoch_of_a_file_changes_with_time(
    ledger: SqlLedger, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that is restored into an open file changes neither the file nor its connections."""
    if database.dialect.name != "sqlite":
        pytest.skip("connections to PostgreSQL are made anew as often")
    now_seconds = 7.0
    monkeypatch.setattr(sql, "monotonic", lambda: now_seconds)
    epoch = ledger.epoch()
    now_seconds += sql.FILE_TRUST_SECONDS
    assert ledger.epoch() != epoch


def test_run_is_billed_once(ledger: SqlLedger) -> None:
    """A7: also when the store forgot it; a failed run may be billed by its next try."""
    failed = record(
        1, run_id="r", status=500, billable=False, reason="http_5xx", charged_micro={"dc": 0}
    )
    ledger.append([failed, record(2, run_id="r"), record(3, run_id="r")])
    ledger.append([record(4, run_id="r")])

    events = ledger.events(workspace_id="acme", period=None)

    assert [(e.billable, e.repeat) for e in events] == [
        (False, False), (True, False), (False, True), (False, True)
    ]  # fmt: skip
    assert charged(ledger) == MICRO


def test_day_46_bills_the_run_again(ledger: SqlLedger) -> None:
    """0.12."""
    later = START + 46 * 86_400 * MICRO
    ledger.append([record(1, run_id="r"), record(2, run_id="r", occurred_at_micro=later)])

    assert [e.billable for e in ledger.events(workspace_id="acme", period=None)] == [True, True]


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_it_makes_no_difference_how_many_come_at_once(ledger: SqlLedger, batch: int) -> None:
    """A7: a run is billed once in each retention, counted from what it was billed by last."""
    days = [0, 44, 46, 47, 91, 92]
    records = [
        record(n, run_id="r", occurred_at_micro=START + day * 86_400 * MICRO)
        for n, day in enumerate(days)
    ]
    for start in range(0, len(records), batch):
        ledger.append(records[start : start + batch])
    ledger.append(records)

    events = ledger.events(workspace_id="acme", period=None)
    assert [e.billable for e in events] == [True, False, True, False, True, False]
    assert ledger.billing_event("acme", "r") == (records[4].event_id, records[4].occurred_at_micro)


@pytest.mark.parametrize("table", ["usage_events", "usage_quantities"])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "UPDATE {} SET event_id = 'x'"])
def test_rows_can_not_be_changed(
    ledger: SqlLedger, database: Engine, table: str, verb: str
) -> None:
    """D1, 3.1: UPDATE and DELETE raise, on both databases."""
    ledger.append([record(1)])

    with pytest.raises(SQLAlchemyError), database.begin() as connection:
        connection.execute(text(verb.format(table)))

    assert charged(ledger) == MICRO


def test_compensating_event_restores_the_sum(ledger: SqlLedger) -> None:
    """D1, 3.6."""
    ledger.append([record(1)])
    ledger.append(
        [record(2, reason="correction", quantities_micro={"dc": -MICRO},
                charged_micro={"dc": -MICRO})]
    )  # fmt: skip

    assert charged(ledger) == 0


def test_sums_for_a_rebuild_are_those_of_the_span(ledger: SqlLedger) -> None:
    ledger.append([record(n, key_id=f"k{n % 2}") for n in range(4)])

    totals = {
        total.key_id: total.charged_micro
        for total in ledger.charged_between(START, START + 3, meter="dc")
    }

    assert totals == {"k0": 2 * MICRO, "k1": MICRO}
    ledger.append([record(9, run_id="r9")])
    assert list(ledger.runs_since(START, limit=5)) == [("acme", "r9", START + 9)]
    assert ledger.billing_event("acme", "r9") == (record(9).event_id, START + 9)
    assert ledger.billing_event("acme", "r0") is None
    assert ledger.billing_event("other", "r9") is None


LARGEST = QUANTITY_UNITS_MAX * MICRO
"""What one caller's request may say that it cost."""


@pytest.mark.parametrize("batch", [103, 1030])
@pytest.mark.parametrize(("sign", "end"), [(1, SUM_MAX_MICRO), (-1, -SUM_MAX_MICRO)])
def test_no_sum_is_too_large(ledger: SqlLedger, batch: int, sign: int, end: int) -> None:
    """Nobody stops others by what they use: records are taken, a rebuild gets the exact sum."""
    records = [
        record(n, quantities_micro={"dc": LARGEST}, charged_micro={"dc": sign * (LARGEST - 1)})
        for n in range(1030)
    ]
    for start in range(0, len(records), batch):
        ledger.append(records[start : start + batch])

    (total,) = ledger.charged_between(START, START + 9_999, meter="dc")
    assert total.charged_micro == sign * 1030 * (LARGEST - 1)
    assert charged(ledger) == end
    ledger.append([record(2000, reason="correction", charged_micro={"dc": -sign * MICRO})])
    assert charged(ledger) == end, "what it lacks is not known any more"
    assert isinstance(charged(ledger), int)


def test_a_sum_comes_to_its_end_neither_early_nor_late(ledger: SqlLedger) -> None:
    most = SUM_MAX_MICRO - 1
    steps = [most - 4, 4, -most, -most, 3, -3, 7]
    sums = []
    for n, step in enumerate(steps):
        halves = (step // 2, step - step // 2)
        ledger.append([
            record(2 * n + half, charged_micro={"dc": micro}) for half, micro in enumerate(halves)
        ])  # fmt: skip
        sums.append(charged(ledger))
    assert sums == [most - 4, most, 0, -most, 3 - most, -most, 7 - most]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 5 * MICRO), st.booleans(), st.sampled_from([200, 422, 500])),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_rollups_are_the_sum_of_events(
    migrated_sqlite: object, tmp_path_factory: pytest.TempPathFactory,
    made: list[tuple[int, bool, int]],
) -> None:  # fmt: skip
    """A22: sum, count and maximum, monthly and hourly alike."""
    path = tmp_path_factory.mktemp("ledger") / "l.db"
    shutil.copy(str(migrated_sqlite), path)
    ledger = SqlLedger(create_engine_for(f"sqlite:///{path}"))
    records = [
        record(n, billable=billable, status=status, quantities_micro={"dc": micro},
               charged_micro={"dc": micro if billable else 0})
        for n, (micro, billable, status) in enumerate(made)
    ]  # fmt: skip
    ledger.append(records[: len(records) // 2])
    ledger.append(records)
    try:
        (month,) = (
            r for r in ledger.usage(workspace_id="acme", period="2025-11") if r.meter == "dc"
        )
        hours = [
            r for r in ledger.usage(workspace_id="acme", period=None, hourly=True)
            if r.meter == "dc"
        ]  # fmt: skip
    finally:
        ledger.close()
    total = sum(micro for micro, billable, _ in made if billable)
    assert month.charged_micro == total == sum(hour.charged_micro for hour in hours)
    assert month.requests == len(made)
    assert month.billable_events == sum(billable and micro > 0 for micro, billable, _ in made)
    assert month.charged_max_micro == max((m for m, billable, _ in made if billable), default=0)


def test_ledger_that_is_away_says_so(tmp_path: object) -> None:
    ledger = SqlLedger(create_engine_for("postgresql://nobody@127.0.0.1:1/none"))

    with pytest.raises(LedgerUnavailable):
        ledger.append([record(1)])
