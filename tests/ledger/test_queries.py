"""Each statement does what its comment says, and those of pages and look-ups use an index."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Connection, CursorResult, Engine

from gateway.ledger import queries
from gateway.ledger.bulk import bulk_insert
from gateway.ledger.rollups import CORRECTION
from gateway.ledger.rows import Values, event_row, quantity_rows
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from tests.metering.journals import NOW_MICRO, record
from tests.support.query_plans import whole_table_reads

DAY_MICRO = 86_400 * MICRO


@pytest.fixture
def connection(database: Engine) -> Any:
    with database.connect() as opened:
        yield opened
        opened.rollback()


def insert(
    connection: Connection, statement: queries.BulkStatement, rows: Sequence[Values]
) -> CursorResult[Any]:
    return bulk_insert(statement, connection.engine).run(connection, rows)


def add(connection: Connection, *records: Record) -> None:
    dialect = connection.dialect.name
    insert(connection, queries.add_events(dialect), [event_row(told) for told in records])
    quantities = [row for told in records for row in quantity_rows(told)]
    insert(connection, queries.add_quantities(dialect), quantities)


def ids(*numbers: int) -> list[str]:
    return [record(number).event_id for number in numbers]


def test_events_that_are_there_are_not_inserted_again(connection: Connection) -> None:
    add(connection, record(1))
    statement = queries.add_events(connection.dialect.name)

    added = insert(connection, statement, [event_row(record(n, status=500)) for n in (1, 2)])

    assert added.rowcount == 1
    if connection.dialect.name == "postgresql":
        assert added.scalars().all() == ids(2)
    page = connection.execute(queries.events(None, None, "", 10)).all()
    assert [row.status for row in page] == [200, 500]


def test_events_of_this_transaction_stand_after_the_row_that_was_last(
    connection: Connection,
) -> None:
    if connection.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's INSERT returns them")
    assert connection.execute(queries.LAST_ROW).scalar() is None
    add(connection, record(5), record(2))
    last = connection.execute(queries.LAST_ROW).scalar()
    add(connection, record(1), record(9))

    found = connection.execute(queries.EVENTS_AFTER_ROW, {"row": last}).scalars()

    assert sorted(found) == ids(1, 9)
    for statement in (queries.LAST_ROW, queries.EVENTS_AFTER_ROW):
        assert whole_table_reads(connection, statement, {"row": last}) == []


class Runs:
    """Claims runs of one workspace."""

    def __init__(self, connection: Connection, retention_micro: int) -> None:
        self._connection = connection
        self._claim = queries.claim_runs(connection.dialect.name, retention_micro)

    def claim(self, run_id: str, event_id: str, at_micro: int) -> bool:
        """Return whether the event is now what the run is billed by."""
        row = ("ws", run_id, event_id, at_micro)
        return insert(self._connection, self._claim, [row]).rowcount == 1

    def holder(self, run_id: str) -> str:
        """Return the event that a run is billed by."""
        row = self._connection.execute(queries.holders_of([("ws", run_id)])).one()
        return str(row.event_id)


def test_a_run_is_billed_by_the_first_until_the_retention_is_over(connection: Connection) -> None:
    runs = Runs(connection, DAY_MICRO)

    assert runs.claim("a", "first", NOW_MICRO)
    assert not runs.claim("a", "second", NOW_MICRO + DAY_MICRO - 1)
    assert runs.holder("a") == "first"

    assert runs.claim("a", "third", NOW_MICRO + DAY_MICRO)
    assert runs.holder("a") == "third"


def test_a_late_record_of_long_ago_takes_no_run_away(connection: Connection) -> None:
    runs = Runs(connection, DAY_MICRO)

    assert runs.claim("a", "first", NOW_MICRO)
    assert not runs.claim("a", "earlier", NOW_MICRO - 2 * DAY_MICRO)


def test_billed_runs_come_newest_first(connection: Connection) -> None:
    runs = Runs(connection, DAY_MICRO)
    for number, name in enumerate(("a", "b", "c")):
        runs.claim(name, f"event-{name}", NOW_MICRO + number)

    page = connection.execute(
        queries.RUNS_SINCE, {"start_micro": NOW_MICRO + 1, "row_limit": 10}
    ).all()

    assert [row.run_id for row in page] == ["c", "b"]


def rollup(**sums: Any) -> Values:
    row: dict[str, object] = {
        "granularity": "month", "workspace_id": "ws", "meter": "dc", "bucket": "2026-11",
        "period": "2026-11", "requests": 0, "billable_events": 0, "refused": 0, "repeats": 0,
        "charged_micro": 0, "charged_max_micro": 0, **sums,
    }  # fmt: skip
    return tuple(row.values())


def test_sums_grow_and_the_maximum_stays_the_largest(connection: Connection) -> None:
    statement = queries.add_to_rollups(connection.dialect.name)
    for sums in (
        {"requests": 1, "charged_micro": 5, "charged_max_micro": 5},
        {"requests": 2, "charged_micro": 3, "charged_max_micro": 2, "refused": 1},
        {"requests": 1, "charged_micro": 9, "charged_max_micro": 9, "repeats": 4},
    ):
        insert(connection, statement, [rollup(**sums)])

    row = connection.execute(queries.usage("ws", "2026-11", hourly=False, limit=10)).one()

    assert (row.requests, row.charged_micro, row.charged_max_micro) == (4, 17, 9)
    assert (row.refused, row.repeats, row.billable_events) == (1, 4, 0)


def test_usage_is_of_what_was_asked_for(connection: Connection) -> None:
    statement = queries.add_to_rollups(connection.dialect.name)
    rows = [
        rollup(),
        rollup(workspace_id="other"),
        rollup(period="2026-12", bucket="2026-12"),
        rollup(granularity="hour", bucket="2026-11-20T22:00Z"),
    ]
    insert(connection, statement, rows)

    def found(workspace_id: str | None, period: str | None, *, hourly: bool) -> list[str]:
        asked = queries.usage(workspace_id, period, hourly=hourly, limit=10)
        return [f"{row.workspace_id} {row.bucket}" for row in connection.execute(asked)]

    assert found(None, None, hourly=False) == ["other 2026-11", "ws 2026-11", "ws 2026-12"]
    assert found("ws", "2026-11", hourly=False) == ["ws 2026-11"]
    assert found("ws", None, hourly=True) == ["ws 2026-11-20T22:00Z"]
    limited = queries.usage(None, None, hourly=False, limit=1)
    assert len(connection.execute(limited).all()) == 1


def test_events_come_in_pages_in_order_of_time(connection: Connection) -> None:
    add(connection, *(record(number) for number in (3, 1, 2)), record(4, workspace_id="other"))

    def page(workspace_id: str | None, after: str, limit: int = 2) -> list[str]:
        asked = queries.events(workspace_id, "2026-11", after, limit)
        return [row.event_id for row in connection.execute(asked)]

    assert page("ws_acme", "") == ids(1, 2)
    assert page("ws_acme", ids(2)[0]) == ids(3)
    assert page(None, ids(2)[0]) == ids(3, 4)
    assert connection.execute(queries.events("ws_acme", "2026-10", "", 9)).all() == []


def charged(connection: Connection, statement: Any, **values: Any) -> list[tuple[Any, ...]]:
    span = {"start_micro": NOW_MICRO, "end_micro": NOW_MICRO + 10, **values}
    rows = connection.execute(statement, span)
    return sorted(
        (
            row.workspace_id,
            row.route,
            int(row.charged_units) * MICRO + int(row.charged_rest_micro),
            int(row.events),
        )
        for row in rows
    )


def test_charges_are_summed_by_owner_within_the_span(connection: Connection) -> None:
    free = {"billable": False, "charged_micro": {"dc": 0}}
    add(
        connection,
        record(0),
        record(1),
        record(2, route=None),
        record(3, **free),
        record(4, workspace_id=None),  # nobody's
        record(10),  # the span's end is not in it
    )

    assert charged(connection, queries.CHARGED_BETWEEN, meter="dc") == [
        ("ws_acme", "", MICRO, 1),
        ("ws_acme", "create-run", 2 * MICRO, 2),
    ]
    assert charged(connection, queries.REQUESTS_BETWEEN) == [
        ("ws_acme", "", MICRO, 1),
        ("ws_acme", "create-run", 2 * MICRO, 2),
    ]


def test_a_correction_takes_an_event_back(connection: Connection) -> None:
    taken = {"dc": -MICRO}
    back = record(2, reason=CORRECTION, quantities_micro=taken, charged_micro=taken)
    add(connection, record(0), record(1), back)

    assert charged(connection, queries.CHARGED_BETWEEN, meter="dc") == [
        ("ws_acme", "create-run", MICRO, 1)
    ]
    assert charged(connection, queries.REQUESTS_BETWEEN) == [("ws_acme", "create-run", MICRO, 1)]


def test_quantities_are_those_of_the_events(connection: Connection) -> None:
    add(connection, record(1), record(2), record(3))

    rows = connection.execute(queries.quantities_of(ids(1, 3))).all()

    assert sorted(row.event_id for row in rows) == ids(1, 3)
    assert {row.charged_micro for row in rows} == {MICRO}


PLANS: Mapping[str, tuple[ClauseElement, Mapping[str, Any]]] = {
    "events of a workspace": (queries.events("ws", "2026-11", "", 10), {}),
    "events of all": (queries.events(None, None, "", 10), {}),
    "holders": (queries.holders_of([("ws", "a")]), {}),
    "runs since": (queries.RUNS_SINCE, {"start_micro": 1, "row_limit": 10}),
    "known events": (queries.known_events(["a", "b"]), {}),
    "usage of a period": (queries.usage(None, "2026-11", hourly=False, limit=10), {}),
    "usage of a workspace": (queries.usage("ws", None, hourly=True, limit=10), {}),
}


@pytest.mark.parametrize("name", PLANS)
def test_statement_looks_into_an_index(name: str, connection: Connection) -> None:
    statement, values = PLANS[name]

    assert whole_table_reads(connection, statement, values) == []
