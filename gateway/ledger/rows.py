"""Records as rows of tables, and back. What the counter store was owed stays in the journal."""

from typing import Any

import orjson

from gateway.ledger.port import UsageRow
from gateway.ledger.rollups import RollupKey, Tally, meters_of, period_of, saturated
from gateway.rules.record import Record

Values = tuple[object, ...]
SqlRow = Any  # SQLAlchemy types rows by position, which a list of 24 columns outgrows


def storable(text: str) -> str:
    """Return a caller's text without NUL, which PostgreSQL can't store."""
    return text.replace("\0", "\\u0000") if "\0" in text else text


def event_row(record: Record) -> Values:
    """Return a record as a row of ``usage_events``, in its order.

    Truth is 1 or 0: SQLite stores it so, and its driver takes longer over a bool than over a text.
    """
    return (
        record.event_id,
        record.request_id,
        record.occurred_at_micro,
        record.workspace_id,
        record.key_id,
        record.plan,
        record.route,
        record.method,
        None if record.run_id is None else storable(record.run_id),
        record.status,
        record.outcome,
        record.code,
        1 if record.billable else 0,
        record.reason,
        1 if record.repeat else 0,
        record.pricing_version,
        period_of(record),
        _json(record.flags),
        _json(record.violated),
        record.bytes_in,
        record.bytes_out,
        record.latency_micro,
        record.upstream_micro,
        record.v,
        record.count,
    )


def rollup_row(key: RollupKey, tally: Tally) -> Values:
    """Return what is added to one sum as a row of ``usage_rollups``, in its order."""
    return (
        *key,
        tally.requests,
        tally.billable_events,
        tally.refused,
        tally.repeats,
        saturated(tally.charged_micro),
        tally.charged_max_micro,
    )


def _json(names: list[str]) -> str:
    return orjson.dumps(names).decode() if names else "[]"


def quantity_rows(record: Record) -> list[Values]:
    """Return a record as rows of ``usage_quantities``, one a meter, in its order."""
    used, charged = record.quantities_micro, record.charged_micro
    return [
        (record.event_id, meter, used.get(meter, 0), charged.get(meter, 0))
        for meter in sorted(meters_of(record))
    ]


def record_of(row: SqlRow, used: dict[str, int], charged: dict[str, int]) -> Record:
    """Return the record of a stored event and its quantities per meter."""
    return Record(
        event_id=row.event_id,
        request_id=row.request_id,
        occurred_at_micro=row.occurred_at_micro,
        workspace_id=row.workspace_id,
        key_id=row.key_id,
        plan=row.plan,
        route=row.route,
        method=row.method,
        run_id=row.run_id,
        status=row.status,
        outcome=row.outcome,
        code=row.code,
        billable=row.billable,
        reason=row.reason,
        repeat=row.repeat,
        quantities_micro=used,
        charged_micro=charged,
        pricing_version=row.pricing_version,
        period=row.period,
        flags=orjson.loads(row.flags),
        violated=orjson.loads(row.violated),
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
        latency_micro=row.latency_micro,
        upstream_micro=row.upstream_micro,
        v=row.record_version,
        count=row._mapping["count"],  # noqa: SLF001 - the attribute is the tuple's method
    )


def usage_row_of(row: SqlRow) -> UsageRow:
    """Return a rollup as the port gives it."""
    return UsageRow(
        workspace_id=row.workspace_id,
        meter=row.meter,
        bucket=row.bucket,
        requests=row.requests,
        billable_events=row.billable_events,
        refused=row.refused,
        repeats=row.repeats,
        charged_micro=row.charged_micro,
        charged_max_micro=row.charged_max_micro,
    )
