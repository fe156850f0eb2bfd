"""All SQL of the ledger, each statement named and explained. Nothing here is executed.

How records become sums is said in ``gateway.ledger.rollups``.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.sql.dml import ReturningInsert

from gateway.database.statements import ConflictInsert, insert_into
from gateway.database.tables import charged_runs, usage_events, usage_quantities, usage_rollups
from gateway.ledger.rollups import CORRECTION, SUM_MAX_MICRO, Granularity
from gateway.rules.units import MICRO

Rows = Select[Any]  # SQLAlchemy types rows by position, which a list of 24 columns outgrows

BulkStatement = ConflictInsert | ReturningInsert[Any]
"""An INSERT for ``gateway.ledger.bulk``."""

_COUNTED: Final = ("requests", "billable_events", "refused", "repeats")

_AT: Final = usage_events.c.occurred_at_micro
_IN_SPAN: Final = and_(
    bindparam("start_micro") <= _AT,
    bindparam("end_micro") > _AT,
    usage_events.c.workspace_id.is_not(None),
)
_OWNER: Final = (
    usage_events.c.workspace_id,
    func.coalesce(usage_events.c.key_id, "").label("key_id"),
    func.coalesce(usage_events.c.route, "").label("route"),
)

TOLD: Final = "told"
"""The parameter of ``rows_told``."""


def rows_told(table: Table) -> Rows:
    """Rows of a table out of a JSON array of objects, in the array's order; PostgreSQL only."""
    told = cast(bindparam(TOLD, type_=Text), JSON)
    kind: ColumnElement[None] = literal_column(f"NULL::{table.name}")
    return select(func.json_populate_recordset(kind, told).table_valued(*table.c.keys()))


def _insert(table: Table, dialect: str) -> ConflictInsert:
    """Return an INSERT of all columns of many rows, as ``gateway.ledger.bulk`` gives them."""
    if dialect == "postgresql":
        told = postgresql.insert(table)
        return told.from_select(table.c.keys(), rows_told(table))
    return insert_into(table, dialect)


def add_quantities(dialect: str) -> ConflictInsert:
    """What new events used; the events are in the same transaction, so none can be there before."""
    return _insert(usage_quantities, dialect)


def claim_runs(dialect: str, retention_micro: int) -> ConflictInsert:
    """Make an event the one that its run is billed by; counts the runs that were free.

    A run that was billed longer ago than the retention is free again. The primary key makes it
    safe against other processes: the second one waits, and then finds the run taken.
    """
    claim = _insert(charged_runs, dialect)
    return claim.on_conflict_do_update(
        index_elements=[charged_runs.c.workspace_id, charged_runs.c.run_id],
        set_={
            "event_id": claim.excluded.event_id,
            "occurred_at_micro": claim.excluded.occurred_at_micro,
        },
        where=(
            claim.excluded.occurred_at_micro - charged_runs.c.occurred_at_micro
            >= literal_column(str(retention_micro), BigInteger)
        ),
    )


def holders_of(runs: Sequence[tuple[str, str]]) -> Rows:
    """Which events the runs are billed by."""
    return select(
        charged_runs.c.workspace_id,
        charged_runs.c.run_id,
        charged_runs.c.event_id,
        charged_runs.c.occurred_at_micro,
    ).where(tuple_(charged_runs.c.workspace_id, charged_runs.c.run_id).in_(runs))


def add_events(dialect: str) -> BulkStatement:
    """Insert the events that are not there yet; on PostgreSQL it returns their ids."""
    add = _insert(usage_events, dialect)
    add = add.on_conflict_do_nothing(index_elements=[usage_events.c.event_id])
    return add.returning(usage_events.c.event_id) if dialect == "postgresql" else add


_ROW_NUMBER: Final[ColumnElement[int]] = literal_column("rowid", Integer)

LAST_ROW: Final = select(func.max(_ROW_NUMBER)).select_from(usage_events)
"""SQLite's number of the youngest event: it counts up, for events are never deleted."""

EVENTS_AFTER_ROW: Final = select(usage_events.c.event_id).where(bindparam("row") < _ROW_NUMBER)
"""Which events were inserted since ``LAST_ROW`` was asked."""


_SUM_MAX: Final[ColumnElement[int]] = literal_column(str(SUM_MAX_MICRO), BigInteger)
_SUM_MIN: Final[ColumnElement[int]] = literal_column(str(-SUM_MAX_MICRO), BigInteger)
_ZERO: Final[ColumnElement[int]] = literal_column("0", BigInteger)


def _saturated_sum(there: ColumnElement[int], new: ColumnElement[int]) -> ColumnElement[int]:
    """Add without ever passing what fits: PostgreSQL would raise, SQLite turn it into a float.

    A sum that came to its end stays there, whatever is taken back: what it lacks is not known.
    """
    room_above = _SUM_MAX - case((there > _ZERO, there), else_=_ZERO)
    room_below = _SUM_MIN - case((there < _ZERO, there), else_=_ZERO)
    return case(
        (or_(there >= _SUM_MAX, new >= room_above), _SUM_MAX),
        (or_(there <= _SUM_MIN, new <= room_below), _SUM_MIN),
        else_=there + new,
    )


def add_to_rollups(dialect: str) -> ConflictInsert:
    """Add to sums; the maximum is the larger of both."""
    add = _insert(usage_rollups, dialect)
    sums, added = usage_rollups.c, add.excluded
    there, new = sums.charged_max_micro, added.charged_max_micro
    return add.on_conflict_do_update(
        index_elements=list(usage_rollups.primary_key.columns),
        set_={
            **{name: sums[name] + added[name] for name in _COUNTED},
            "charged_micro": _saturated_sum(sums.charged_micro, added.charged_micro),
            "charged_max_micro": case((new > there, new), else_=there),
        },
    )


def usage(workspace_id: str | None, period: str | None, *, hourly: bool, limit: int | None) -> Rows:
    """Rollups of a workspace or all, a billing period or all."""
    granularity = Granularity.HOUR if hourly else Granularity.MONTH
    statement = select(usage_rollups).where(usage_rollups.c.granularity == granularity.value)
    if workspace_id is not None:
        statement = statement.where(usage_rollups.c.workspace_id == workspace_id)
    if period is not None:
        statement = statement.where(usage_rollups.c.period == period)
    return statement.order_by(
        usage_rollups.c.workspace_id, usage_rollups.c.meter, usage_rollups.c.bucket
    ).limit(limit)


def events(workspace_id: str | None, period: str | None, after_event_id: str, limit: int) -> Rows:
    """A page of events in order of their ids, which is the order of time."""
    statement = select(usage_events).where(usage_events.c.event_id > after_event_id)
    if workspace_id is not None:
        statement = statement.where(usage_events.c.workspace_id == workspace_id)
    if period is not None:
        statement = statement.where(usage_events.c.period == period)
    return statement.order_by(usage_events.c.event_id).limit(limit)


def known_events(event_ids: Sequence[str]) -> Rows:
    """Which of some events are there."""
    return select(usage_events.c.event_id).where(usage_events.c.event_id.in_(event_ids))


def quantities_of(event_ids: Sequence[str]) -> Rows:
    """What some events used, and what of it is billed."""
    return select(usage_quantities).where(usage_quantities.c.event_id.in_(event_ids))


_CHARGED: Final = usage_quantities.c.charged_micro

CHARGED_BETWEEN: Final = (
    select(
        *_OWNER,
        func.sum(_CHARGED // MICRO).label("charged_units"),
        func.sum(_CHARGED % MICRO).label("charged_rest_micro"),
        func.sum(
            case(
                (and_(usage_events.c.billable, _CHARGED > 0), 1),
                (and_(usage_events.c.billable, _CHARGED < 0), -1),
                else_=0,
            )
        ).label("events"),
    )
    .join_from(usage_events, usage_quantities)
    .where(_IN_SPAN, usage_quantities.c.meter == bindparam("meter"))
    .group_by(*_OWNER)
)
"""Sums of a meter per workspace, key and route, whole units apart from the rest: SQLite's sums end
at 64 bits. Of a negative number both parts are negative, on either database."""

_TAKES_BACK: Final = and_(
    usage_events.c.reason == CORRECTION,
    exists().where(usage_quantities.c.event_id == usage_events.c.event_id, _CHARGED < 0),
)
_REQUESTS: Final = func.sum(case((_TAKES_BACK, -1), else_=1))

REQUESTS_BETWEEN: Final = (
    select(
        *_OWNER,
        _REQUESTS.label("charged_units"),
        literal_column("0", Integer).label("charged_rest_micro"),
        _REQUESTS.label("events"),
    )
    .where(_IN_SPAN, usage_events.c.billable)
    .group_by(*_OWNER)
)
"""The same for the meter ``requests``: every billed event is one unit, written nowhere."""

RUNS_SINCE: Final = (
    select(charged_runs.c.workspace_id, charged_runs.c.run_id, charged_runs.c.occurred_at_micro)
    .where(charged_runs.c.occurred_at_micro >= bindparam("start_micro"))
    .order_by(charged_runs.c.occurred_at_micro.desc(), charged_runs.c.event_id.desc())
    .limit(bindparam("row_limit"))
)
"""Billed runs, newest first."""
