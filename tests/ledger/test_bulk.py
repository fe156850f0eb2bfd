"""Rows reach a table as they are, and what a database can't hold it refuses itself."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, select

from gateway.database.engine import writing
from gateway.database.tables import charged_runs
from gateway.errors import GatewayError, LedgerUnavailable
from gateway.ledger import queries
from gateway.ledger.bulk import BulkInsert, bulk_insert

DAY_MICRO = 86_400_000_000
ODD = 'it\'s \\ "{,}" %s :a \t\n \u20ac \U0001f600 NULL'
"""What a quoting that is wrong would trip over."""


@pytest.fixture
def connection(database: Engine) -> Iterator[Connection]:
    with database.connect() as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def claim(database: Engine) -> BulkInsert:
    return bulk_insert(queries.claim_runs(database.dialect.name, DAY_MICRO), database)


def test_rows_come_back_as_they_were_given(connection: Connection, claim: BulkInsert) -> None:
    rows = [("ws", ODD, "event", 2**63 - 1), ("", "null", "[]", -(2**63))]
    assert claim.run(connection, rows).rowcount == 2
    found = connection.execute(select(charged_runs).order_by(charged_runs.c.workspace_id)).all()
    assert [tuple(row) for row in found] == rows[::-1]


def test_what_was_inserted_or_changed_is_counted(connection: Connection, claim: BulkInsert) -> None:
    rows = [("ws", f"run{number}", "first", number) for number in range(1_000)]
    assert claim.run(connection, rows).rowcount == 1_000
    later = [(workspace, run, "second", DAY_MICRO + 10) for workspace, run, _, _ in rows]
    assert claim.run(connection, later).rowcount == 11
    assert claim.run(connection, later).rowcount == 0


@pytest.mark.parametrize("wrong", [2**70, [], None])
def test_a_value_that_no_database_holds_is_refused(
    database: Engine, claim: BulkInsert, wrong: object
) -> None:
    """The carrier sets such a record aside: it must not look like a dead database."""
    with (
        pytest.raises(GatewayError, match="refused a row") as caught,
        writing(database, LedgerUnavailable, "away") as connection,
    ):
        claim.run(connection, [("ws", "run", "event", wrong)])
    assert caught.value.code == "database.refused_data"


def test_half_a_surrogate_pair_is_refused(database: Engine, claim: BulkInsert) -> None:
    """It is no text, and SQLite's driver says so without asking SQLite."""
    with (
        pytest.raises((GatewayError, UnicodeEncodeError), match=r"refused a row|surrogates"),
        writing(database, LedgerUnavailable, "away") as connection,
    ):
        claim.run(connection, [("ws", "\ud800", "event", 1)])
