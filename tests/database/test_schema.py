"""Migrations give exactly the tables, on both databases, from any number of processes at once."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DatabaseError

from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate, migrate_to, revision_status
from gateway.database.tables import metadata
from gateway.errors import GatewayError

EVENT = (
    "INSERT INTO usage_events (event_id, request_id, occurred_at_micro, method, status, outcome,"
    " billable, reason, repeat, period, flags, violated, bytes_in, bytes_out, latency_micro,"
    " upstream_micro, record_version) VALUES ('e1', 'r1', 1, 'GET', 200, 'completed', true,"
    " 'success', false, '2026-11', '[]', '[]', 0, 0, 0, 0, 1)"
)
QUANTITY = "INSERT INTO usage_quantities VALUES ('e1', 'dc', 2000000, 2000000)"


@pytest.fixture
def empty(database_url: str) -> Iterator[Engine]:
    engine = create_engine_for(database_url)
    yield engine
    engine.dispose()


def test_status_is_told_before_and_after(empty: Engine) -> None:
    before = revision_status(empty)
    after = migrate(empty)
    assert (before.current, before.is_current) == (None, False)
    assert after.is_current
    assert after == revision_status(empty)
    assert after == migrate(empty)


def test_rows_survive_the_way_down_to_the_unguarded_tables_and_up_again(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text(EVENT))
        connection.execute(text(QUANTITY))
    migrate_to(database, "00.01.00_02")
    assert not revision_status(database).is_current
    migrate(database)
    with database.connect() as connection:
        assert connection.scalar(text("SELECT charged_micro FROM usage_quantities")) == 2_000_000
    with pytest.raises(DatabaseError), database.begin() as connection:
        connection.execute(text("DELETE FROM usage_events"))


def test_workspaces_keep_the_plan_that_they_had_before_plans_were_noted(database: Engine) -> None:
    migrate_to(database, "00.01.00_03")
    with database.begin() as connection:
        connection.execute(text("INSERT INTO workspaces VALUES ('ws', 'STARTER', 'active', 7)"))
    migrate(database)
    with database.connect() as connection:
        noted = connection.execute(text("SELECT * FROM workspace_plans")).all()
    assert noted == [("ws", 7, "STARTER")]


def test_events_of_before_stand_for_one_request_each(database: Engine) -> None:
    migrate_to(database, "00.01.00_04")
    with database.begin() as connection:
        connection.execute(text(EVENT))
    migrate(database)
    with database.begin() as connection:
        # A worker of the release before goes on writing while the new one is rolled out.
        connection.execute(text(EVENT.replace("'e1'", "'e2'")))
        assert connection.execute(text("SELECT count FROM usage_events")).scalars().all() == [1, 1]
    with pytest.raises(DatabaseError), database.begin() as connection:
        connection.execute(text("UPDATE usage_events SET count = 2"))


def test_all_the_way_down_leaves_nothing_and_up_works_again(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text(EVENT))
    migrate_to(database, "base")
    assert {"alembic_version"} == set(inspect(database).get_table_names())
    migrate(database)
    assert set(metadata.tables) < set(inspect(database).get_table_names())


@pytest.mark.parametrize("table", ["usage_events", "usage_quantities"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET event_id = 'x'", "DELETE FROM {}"])
def test_billed_rows_can_not_be_changed_or_deleted(
    database: Engine, table: str, statement: str
) -> None:
    """D1, REQ 3.1: append-only is the database's promise, not only ours."""
    with database.begin() as connection:
        connection.execute(text(EVENT))
        connection.execute(text(QUANTITY))
    with (
        pytest.raises(DatabaseError, match=f"{table} is append-only"),
        database.begin() as connection,
    ):
        connection.execute(text(statement.format(table)))


def test_replacing_is_no_way_around_the_triggers(database: Engine) -> None:
    """D1: SQLite's REPLACE deletes unseen unless recursive triggers are on; TRUNCATE likewise."""
    with database.begin() as connection:
        connection.execute(text(EVENT))
        connection.execute(text(QUANTITY))
    if database.dialect.name == "postgresql":
        with pytest.raises(DatabaseError, match="append-only"), database.begin() as connection:
            connection.execute(text("TRUNCATE usage_events CASCADE"))
        return
    with database.begin() as connection:
        connection.execute(text("PRAGMA recursive_triggers=OFF"))
        replaced = QUANTITY.replace("INSERT", "INSERT OR REPLACE").replace("2000000", "0")
        connection.execute(text(replaced))
        assert connection.scalar(text("SELECT charged_micro FROM usage_quantities")) == 2_000_000


def test_processes_that_start_together_migrate_once(empty: Engine, database_url: str) -> None:
    program = (
        "import sys; from gateway.database.engine import create_engine_for;"
        "from gateway.database.schema import migrate;"
        "print(migrate(create_engine_for(sys.argv[1])).is_current)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, database_url], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=30)[0] for process in processes] == ["True\n"] * 3
    assert revision_status(empty).is_current


def test_a_newer_releases_database_is_refused(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '99.00.00_01'"))
    with pytest.raises(GatewayError) as caught:
        migrate(database)
    assert caught.value.code == "database.schema_newer"
    assert not revision_status(database).is_current
