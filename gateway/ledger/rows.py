"""Records as rows of tables, and back. What the counter store was owed stays in the journal."""

from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Row

from gateway.ledger.port import UsageRow
from gateway.ledger.rollups import period_of
from gateway.rules.record import Record

Values = dict[str, object]
SqlRow = Row[Any]  # SQLAlchemy types rows by position, which a list of 24 columns outgrows


def storable(text: str) -> str:
    """Return a caller's text without NUL, which PostgreSQL can't store."""
    return text.replace("\0", "\\u0000") if "\0" in text else text


def event_row(record: Record) -> Values:
    """Return the columns of ``usage_events``."""
    return {
        "event_id": record.event_id,
        "request_id": record.request_id,
        "occurred_at_micro": record.occurred_at_micro,
        "workspace_id": record.workspace_id,
        "key_id": record.key_id,
        "plan": record.plan,
        "route": record.route,
        "method": record.method,
        "run_id": None if record.run_id is None else storable(record.run_id),
        "status": record.status,
        "outcome": record.outcome,
        "code": record.code,
        "billable": record.billable,
        "reason": record.reason,
        "repeat": record.repeat,
        "pricing_version": record.pricing_version,
        "period": period_of(record),
        "flags": _json(record.flags),
        "violated": _json(record.violated),
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "latency_micro": record.latency_micro,
        "upstream_micro": record.upstream_micro,
        "record_version": record.v,
    }


def _json(names: list[str]) -> str:
    return orjson.dumps(names).decode() if names else "[]"


def quantity_rows(record: Record) -> Iterator[Values]:
    """Yield the columns of ``usage_quantities``, one row a meter."""
    for meter in sorted(record.quantities_micro.keys() | record.charged_micro.keys()):
        yield {
            "event_id": record.event_id,
            "meter": meter,
            "quantity_micro": record.quantities_micro.get(meter, 0),
            "charged_micro": record.charged_micro.get(meter, 0),
        }


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
