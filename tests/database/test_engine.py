"""Wrong URLs and missing folders are said plainly, and never with a password."""

import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, text

from gateway.database.engine import create_engine_for, describe, reading, writing
from gateway.errors import GatewayError, LedgerUnavailable
from tests.support.postgres_server import PostgresServer

SECRET = "hunter2-secret"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.db",
        f"postgresql://user:{SECRET}@host:port:port/x",
        f"postgresql://user:p@{SECRET}@host/x",
        f"postgresql://user:p@s/{SECRET}@host/x",
        f"postgresql://user:p@s?{SECRET}@host/x=1",
        f"mysql://user:{SECRET}@host/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file.db?mode=ro",
    ],
)
def test_a_wrong_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(GatewayError) as caught:
        create_engine_for(url)
    assert caught.value.code == "database.url_invalid"
    assert "sqlite:///" in caught.value.hint
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        create_engine_for(f"sqlite:///{tmp_path / 'absent' / 'ledger.db'}")
    assert caught.value.code == "database.folder_missing"
    assert str(tmp_path / "absent") in caught.value.message


def test_a_folder_is_no_database_file(tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        create_engine_for(f"sqlite:///{tmp_path}")
    assert caught.value.code == "database.not_writable"


def test_an_unreachable_server_is_a_ledger_unavailable_without_password(tmp_path: Path) -> None:
    engine = create_engine_for(f"postgresql://someone:{SECRET}@/x?host={tmp_path}")
    with (
        pytest.raises(LedgerUnavailable) as caught,
        reading(engine, LedgerUnavailable, "ledger.unavailable") as connection,
    ):
        connection.execute(text("SELECT 1"))
    assert caught.value.code == "ledger.unavailable"
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in describe(engine)


def test_a_broken_file_is_a_ledger_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(b"this is no database" * 100)
    engine = create_engine_for(f"sqlite:///{file}")
    with (
        pytest.raises(LedgerUnavailable, match="not a database"),
        reading(engine, LedgerUnavailable, "ledger.unavailable") as connection,
    ):
        connection.execute(text("SELECT 1"))


def test_sqlite_survives_power_loss_and_checks_references(tmp_path: Path) -> None:
    engine = create_engine_for(f"sqlite:///{tmp_path / 'a.db'}")
    with reading(engine, GatewayError, "x") as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    engine.dispose()


def test_what_a_url_says_of_its_connections_stands(postgres_server: PostgresServer) -> None:
    """Ours fill in what it does not say."""
    theirs = "-c lock_timeout=7s -c statement_timeout=0 -c search_path=metering"
    url = f"{postgres_server.url()}&options={quote(theirs)}&application_name=mine&connect_timeout=9"
    engine = create_engine_for(url)
    with reading(engine, GatewayError, "x") as connection:
        said = {
            name: connection.scalar(text(f"SHOW {name}"))
            for name in ("lock_timeout", "statement_timeout", "search_path", "application_name")
        }
        assert said == {
            "lock_timeout": "7s",
            "statement_timeout": "0",
            "search_path": "metering",
            "application_name": "mine",
        }
        assert connection.scalar(text("SHOW timezone")) == "UTC"
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.info.get_parameters()["connect_timeout"] == "9"
    engine.dispose()


def test_a_url_need_not_say_anything(postgres_server: PostgresServer) -> None:
    engine = create_engine_for(postgres_server.url())
    with reading(engine, GatewayError, "x") as connection:
        assert connection.scalar(text("SHOW application_name")) == "enforcement-gateway"
        assert connection.scalar(text("SHOW lock_timeout")) == "10s"
    engine.dispose()


def test_a_failed_block_writes_nothing(database: Engine) -> None:
    insert = text("INSERT INTO workspaces VALUES ('ws', 'FREE', 'active', 0)")

    def insert_twice() -> None:
        with writing(database, GatewayError, "x") as connection:
            connection.execute(insert)
            connection.execute(insert)

    with pytest.raises(GatewayError):
        insert_twice()
    with reading(database, GatewayError, "x") as connection:
        assert connection.scalar(text("SELECT count(*) FROM workspaces")) == 0
