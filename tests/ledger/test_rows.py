"""A record comes back from the database as it went in, but for what the counter store was owed."""

import itertools
from dataclasses import asdict, fields, replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.database.tables import usage_rollups
from gateway.ledger.rollups import Tally
from gateway.ledger.rows import quantity_rows, rollup_row, storable
from gateway.ledger.sql import SqlLedger
from gateway.rules.record import Record

NUMBERS = itertools.count()

JOURNAL_ONLY: dict[str, object] = {"deltas": [], "run_key": None}

FULL = Record(
    event_id="0", request_id="req", occurred_at_micro=1_763_640_000_000_000, workspace_id="acme",
    key_id="key", plan="STARTER", route="runs", method="POST", run_id="run", status=422,
    outcome="completed", code="c", billable=True, reason="success", repeat=False,
    quantities_micro={"dc": 1, "llm_tokens": 2**53}, charged_micro={"dc": 1, "llm_tokens": 0},
    pricing_version="v1", period="2025-11", flags=["grace", "overage"], violated=["monthly_dc"],
    bytes_in=2**40, bytes_out=1, latency_micro=2, upstream_micro=3,
    deltas=[["usage:{acme}:2025-11", -5, 9]], run_key="idempotency:{acme}:run", count=2**40,
)  # fmt: skip

SPARSE = replace(
    FULL, event_id="1", workspace_id=None, key_id=None, plan=None, route=None, run_id=None,
    code=None, billable=False, pricing_version=None, quantities_micro={}, charged_micro={},
    flags=[], violated=[], deltas=[], run_key=None, count=1,
)  # fmt: skip


def test_every_field_comes_back(database: Engine) -> None:
    """C7: a new field of the record must find its column."""
    ledger = SqlLedger(database)
    ledger.append([FULL, SPARSE])
    events = ledger.events(workspace_id=None, period=None)
    assert events == [replace(FULL, **JOURNAL_ONLY), SPARSE]  # type: ignore[arg-type]
    compared = {field.name for field in fields(Record)} - JOURNAL_ONLY.keys()
    assert all(getattr(FULL, name) not in (None, [], {}) for name in compared)


def test_a_meter_that_only_one_side_names_is_zero_on_the_other() -> None:
    rows = list(quantity_rows(replace(FULL, quantities_micro={"b": 2}, charged_micro={"a": 1})))
    assert rows == [(FULL.event_id, "a", 0, 1), (FULL.event_id, "b", 2, 0)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
@example("a\0b")
def test_any_run_id_can_be_stored(database: Engine, run_id: str) -> None:
    """A run id may come from a JSON body, NUL included, which PostgreSQL can't store."""
    ledger = SqlLedger(database)
    event_id = f"{next(NUMBERS):08d}"
    ledger.append([replace(FULL, event_id=event_id, run_id=run_id)])
    stored = ledger.events(workspace_id=None, period=None)[-1]
    assert stored.event_id == event_id
    assert stored.run_id == storable(run_id)
    assert "\0" not in storable(run_id)


def test_a_sum_is_a_row_of_its_table() -> None:
    key = ("month", "acme", "dc", "2026-11", "2026-11")
    tally = Tally(1, 2, 3, 4, 5, 6)

    row = dict(zip(usage_rollups.c.keys(), rollup_row(key, tally), strict=True))

    assert {name: row[name] for name in asdict(tally)} == asdict(tally)
    assert (row["granularity"], row["workspace_id"], row["meter"]) == key[:3]
    assert (row["bucket"], row["period"]) == key[3:]
