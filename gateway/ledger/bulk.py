"""Many rows into a table at once, as each database takes them cheapest.

SQLAlchemy's own way of binding takes 5 us a row on SQLite, more than the insert; on PostgreSQL a
parameter for each value takes 50 us and more.

Does not own: the statements (``queries``), what the rows hold (``rows``), transactions.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, Protocol

import orjson
from sqlalchemy import Connection, CursorResult, Engine

from gateway.ledger.queries import TOLD, BulkStatement
from gateway.ledger.rows import Values

_COUNTED: Final = {"preserve_rowcount": True}


class BulkInsert(Protocol):
    """An INSERT of as many rows as come."""

    def run(self, connection: Connection, rows: Sequence[Values]) -> CursorResult[Any]:
        """Insert the rows, at least one, all columns given in the table's order.

        The result's ``rowcount`` says how many were inserted or changed.
        """
        ...


class DriverInsert:
    """One that goes to SQLite's driver as it is, compiled once."""

    def __init__(self, statement: BulkStatement, engine: Engine) -> None:
        columns = list(statement.table.c.keys())
        compiled = statement.compile(dialect=engine.dialect, column_keys=columns)
        assert compiled.positiontup == columns
        self._sql = str(compiled)

    def run(self, connection: Connection, rows: Sequence[Values]) -> CursorResult[Any]:
        """See ``BulkInsert``."""
        return connection.exec_driver_sql(self._sql, list(rows), execution_options=_COUNTED)


class ToldInsert:
    """One that takes its rows from a JSON array: a single parameter.

    Args:
        statement: Selects from ``queries.rows_told``.
    """

    def __init__(self, statement: BulkStatement) -> None:
        self._statement = statement
        self._columns = tuple(statement.table.c.keys())

    def run(self, connection: Connection, rows: Sequence[Values]) -> CursorResult[Any]:
        """See ``BulkInsert``."""
        objects = [dict(zip(self._columns, row, strict=True)) for row in rows]
        told = {TOLD: _json(objects)}
        return connection.execute(self._statement, told, execution_options=_COUNTED)


def _json(objects: list[dict[str, object]]) -> str:
    try:
        return orjson.dumps(objects).decode()
    except TypeError:
        # A number of more than 64 bits or half a surrogate pair: let the database refuse it.
        return json.dumps(objects)


def bulk_insert(statement: BulkStatement, engine: Engine) -> BulkInsert:
    """Return the way for an engine's database."""
    if engine.dialect.name == "sqlite":
        return DriverInsert(statement, engine)
    return ToldInsert(statement)
