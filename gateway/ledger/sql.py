"""The ledger in SQLite or PostgreSQL.

One transaction an append: what the runs are billed by, the events, their quantities, the sums. A
second append of the same events changes nothing; two processes that append at once wait for each
other on the rows that they share, always in the same order.

Measured with batches of 500 records that name a run and one meter, on two cores: 52,000
records a second on SQLite (16 us of CPU each), 22,000 on PostgreSQL (17 us, and 27 of the
server's). Without runs, a thousand at a time, 11 us and 12 (18).

Source: design section 8; requirements A7, A22, D1.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, event

from gateway.database.engine import reading, writing
from gateway.errors import LedgerUnavailable
from gateway.ledger import queries
from gateway.ledger.bulk import bulk_insert
from gateway.ledger.port import ChargedTotal, UsageRow
from gateway.ledger.rollups import accumulate, is_correction
from gateway.ledger.rows import (
    event_row,
    quantity_rows,
    record_of,
    rollup_row,
    storable,
    usage_row_of,
)
from gateway.rules.charging import REQUESTS_METER
from gateway.rules.record import Record
from gateway.rules.settlement import as_billed, as_repeat
from gateway.rules.units import MICRO

RUN_RETENTION_SECONDS: Final = 45 * 86_400
"""A7: how long a run is billed only once."""

ROWS_ASKED_MAX: Final = 1_000
"""Values in one IN list; SQLite takes 32,766 parameters in a statement."""

FILE_TRUST_SECONDS: Final = 30.0
"""How long a file counts as the same ledger: as long as a connection to PostgreSQL lives."""

_CODE: Final = "ledger.unavailable"

Run = tuple[str, str]
"""Workspace id and run id."""

Item = TypeVar("Item")


class SqlLedger:
    """Implements ``Ledger``.

    Args:
        engine: A migrated database.
        run_retention_seconds: The pricing file's ``idempotency_retention_days``.
    """

    def __init__(
        self, engine: Engine, *, run_retention_seconds: int = RUN_RETENTION_SECONDS
    ) -> None:
        self._engine = engine
        self._connects = 0
        self._file = ""
        event.listen(engine, "connect", self._note_connect)
        self._retention_micro = run_retention_seconds * MICRO
        dialect = engine.dialect.name
        claim_runs = queries.claim_runs(dialect, self._retention_micro)
        self._claim_runs = bulk_insert(claim_runs, engine)
        self._add_events = bulk_insert(queries.add_events(dialect), engine)
        self._add_quantities = bulk_insert(queries.add_quantities(dialect), engine)
        self._add_to_rollups = bulk_insert(queries.add_to_rollups(dialect), engine)

    def append(self, records: Sequence[Record]) -> int:
        """Insert the records that are not there yet; return how many were new.

        A record that claims to be billed, but whose run another event was billed by, is inserted as
        a repeat that costs nothing; a repeat that claims it, and whose run no other was billed by,
        as what is billed. Corrections and records without a run id are no such claims.

        Raises:
            LedgerUnavailable: nothing was inserted; append the same records again.
            GatewayError: ``database.refused_data``; nothing was inserted, a record is malformed.
        """
        if not records:
            return 0
        # In order of id: two appends that overlap take their locks in the same order.
        by_id = {record.event_id: record for record in reversed(records)}
        ordered = sorted(by_id.values(), key=attrgetter("event_id"))
        with self._writing() as connection:
            billed = self._without_repeats(connection, ordered)
            new = self._add_new(connection, billed)
            self._add_details(connection, new)
        return len(new)

    def usage(
        self,
        *,
        workspace_id: str | None,
        period: str | None,
        hourly: bool = False,
        limit: int | None = None,
    ) -> Sequence[UsageRow]:
        """Return rollups; what their numbers count is said in ``gateway.ledger.rollups``."""
        statement = queries.usage(workspace_id, period, hourly=hourly, limit=limit)
        with self._reading() as connection:
            return [usage_row_of(row) for row in connection.execute(statement)]

    def events(
        self,
        *,
        workspace_id: str | None,
        period: str | None,
        after_event_id: str = "",
        limit: int = 1000,
    ) -> Sequence[Record]:
        """Return events. What the counter store was owed (``deltas``) stays in the journal."""
        statement = queries.events(workspace_id, period, after_event_id, limit)
        with self._reading() as connection:
            rows = connection.execute(statement).all()
            quantities, charges = _quantities(connection, [row.event_id for row in rows])
        return [
            record_of(row, quantities.get(row.event_id, {}), charges.get(row.event_id, {}))
            for row in rows
        ]

    def charged_between(
        self, start_micro: int, end_micro: int, *, meter: str
    ) -> Iterator[ChargedTotal]:
        """Yield sums per workspace, key and route of a span of time."""
        span: dict[str, object] = {"start_micro": start_micro, "end_micro": end_micro}
        if meter == REQUESTS_METER:
            statement = queries.REQUESTS_BETWEEN
        else:
            statement, span["meter"] = queries.CHARGED_BETWEEN, meter
        with self._reading() as connection:
            for row in connection.execute(statement, span):
                yield ChargedTotal(
                    workspace_id=row.workspace_id,
                    meter=meter,
                    key_id=row.key_id,
                    route=row.route,
                    charged_micro=int(row.charged_units) * MICRO + int(row.charged_rest_micro),
                    events=int(row.events),
                )

    def runs_since(self, start_micro: int, *, limit: int) -> Iterator[tuple[str, str, int]]:
        """Yield (workspace id, run id, occurred_at_micro) of billed runs, newest first."""
        with self._reading() as connection:
            page = {"start_micro": start_micro, "row_limit": limit}
            for row in connection.execute(queries.RUNS_SINCE, page):
                yield row.workspace_id, row.run_id, row.occurred_at_micro

    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        """Return which of these events the ledger has. See ``Ledger``."""
        known: set[str] = set()
        with self._reading() as connection:
            for page in _pages(event_ids):
                known.update(connection.execute(queries.known_events(page)).scalars())
        return known

    def billing_event(self, workspace_id: str, run_id: str) -> tuple[str, int] | None:
        """Return id and time of the event that a run is billed by. See ``Ledger``."""
        with self._reading() as connection:
            asked = queries.holders_of([(workspace_id, storable(run_id))])
            row = connection.execute(asked).one_or_none()
        return None if row is None else (row.event_id, row.occurred_at_micro)

    def epoch(self) -> str:
        """Return what changes when this may be another ledger. See ``Ledger``."""
        if self._engine.dialect.name == "sqlite":
            file = _identity(self._engine.url.database or "")
            if file != self._file:
                # What was open goes on writing to a file that has no name any more.
                if self._file:
                    self._engine.dispose()
                self._file = file
            # What restores into the file itself leaves it, and what is connected to it, as it was.
            return f"{self._connects}/{file}/{monotonic() // FILE_TRUST_SECONDS:.0f}"
        return str(self._connects)

    def _note_connect(self, *_connection: object) -> None:
        self._connects += 1

    def close(self) -> None:
        """Close idle connections."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with reading(self._engine, LedgerUnavailable, _CODE) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with writing(self._engine, LedgerUnavailable, _CODE) as connection:
            yield connection

    def _without_repeats(self, connection: Connection, records: Sequence[Record]) -> list[Record]:
        """Claim the records' runs; turn records whose run is billed by another into repeats.

        In order of time, so that it makes no difference how many come at once: what a run is billed
        by after its retention is claimed after what it was billed by before.
        """
        claiming = [(run, record) for record in records if (run := _claimed_run(record))]
        judged: dict[str, Record] = {}
        while claiming:
            holders = self._claim(connection, _oldest(claiming))
            later = []
            for run, record in claiming:
                holder = holders[run]
                if record.occurred_at_micro - holder[1] >= self._retention_micro:
                    later.append((run, record))
                else:
                    judged[record.event_id] = self._judge(record, holder)
            claiming = later
        return [judged.get(record.event_id, record) for record in records]

    def _claim(
        self, connection: Connection, candidates: dict[Run, Record]
    ) -> dict[Run, tuple[str, int]]:
        """Return by which event (id, time) each run is billed now."""
        holders = {
            run: (candidates[run].event_id, candidates[run].occurred_at_micro)
            for run in sorted(candidates)
        }
        claims = [(*run, *holder) for run, holder in holders.items()]
        if self._claim_runs.run(connection, claims).rowcount == len(claims):
            return holders
        for runs in _pages(list(holders)):
            for row in connection.execute(queries.holders_of(runs)):
                holders[row.workspace_id, row.run_id] = (row.event_id, row.occurred_at_micro)
        return holders

    def _judge(self, record: Record, holder: tuple[str, int]) -> Record:
        event_id, at_micro = holder
        is_other = event_id != record.event_id
        if is_other and abs(record.occurred_at_micro - at_micro) < self._retention_micro:
            return as_repeat(record)
        return as_billed(record) if record.claimed_reason else record

    def _add_new(self, connection: Connection, records: Sequence[Record]) -> Sequence[Record]:
        """Insert the events that are not there yet and return their records."""
        rows = [event_row(record) for record in records]
        if connection.dialect.name != "sqlite":
            added = set(self._add_events.run(connection, rows).scalars())
            return [record for record in records if record.event_id in added]
        last_row = connection.execute(queries.LAST_ROW).scalar()
        if self._add_events.run(connection, rows).rowcount == len(rows):
            return records
        # SQLite has one writer, and this transaction is it: whatever came since is from here.
        added = set(connection.execute(queries.EVENTS_AFTER_ROW, {"row": last_row or 0}).scalars())
        return [record for record in records if record.event_id in added]

    def _add_details(self, connection: Connection, records: Sequence[Record]) -> None:
        quantities = [row for record in records for row in quantity_rows(record)]
        if quantities:
            self._add_quantities.run(connection, quantities)
        tallies = accumulate(records)
        if tallies:
            sums = [rollup_row(key, tallies[key]) for key in sorted(tallies)]
            self._add_to_rollups.run(connection, sums)


def _identity(file: str) -> str:
    try:
        status = Path(file).stat()
    except OSError:
        return ""  # being replaced: asked again with the next batch
    return f"{status.st_dev}:{status.st_ino}"


def _claimed_run(record: Record) -> Run | None:
    """Return the run that a record claims to be billed for, None if it claims none."""
    if not (record.billable or record.claimed_reason) or is_correction(record):
        return None
    if record.workspace_id is None or not record.run_id or record.run_id == record.event_id:
        return None
    return record.workspace_id, storable(record.run_id)


def _oldest(claiming: Iterable[tuple[Run, Record]]) -> dict[Run, Record]:
    """Return of each run the record that comes first."""
    oldest: dict[Run, Record] = {}
    for run, record in claiming:
        first = oldest.get(run)
        if first is None or _age(record) < _age(first):
            oldest[run] = record
    return oldest


def _age(record: Record) -> tuple[int, str]:
    return record.occurred_at_micro, record.event_id


def _quantities(
    connection: Connection, event_ids: Sequence[str]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Return used and charged quantities by event and meter."""
    used: dict[str, dict[str, int]] = {}
    charged: dict[str, dict[str, int]] = {}
    for page in _pages(event_ids):
        for row in connection.execute(queries.quantities_of(page)):
            used.setdefault(row.event_id, {})[row.meter] = row.quantity_micro
            charged.setdefault(row.event_id, {})[row.meter] = row.charged_micro
    return used, charged


def _pages(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    return (items[start : start + ROWS_ASKED_MAX] for start in range(0, len(items), ROWS_ASKED_MAX))
