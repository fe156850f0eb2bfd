"""A PostgreSQL that hangs says nothing: neither an answer nor that there will be none."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from sqlalchemy import Connection, Engine, text

from gateway.database.engine import ANSWER_SECONDS, create_engine_for, reading, writing
from gateway.database.postgresql import beginning_with, bound_answers
from gateway.errors import LedgerUnavailable
from tests.support.postgres_server import PostgresServer

CODE = "ledger.unavailable"


@pytest.fixture
def engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    engine = create_engine_for(postgres_server.url(), answer_seconds=None)
    bound_answers(engine, 0.2)
    yield engine
    engine.dispose()


def backend_of(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


@contextmanager
def stopped(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_connection_that_does_not_answer_is_given_up(engine: Engine) -> None:
    with (
        pytest.raises(LedgerUnavailable, match=r"no answer within 0\.2 s"),
        reading(engine, LedgerUnavailable, CODE) as connection,
        stopped(backend_of(connection)),
    ):
        connection.execute(text("SELECT 1"))


def test_a_connection_that_hangs_while_nobody_uses_it_is_replaced(engine: Engine) -> None:
    with reading(engine, LedgerUnavailable, CODE) as connection:
        hung = backend_of(connection)
    with stopped(hung), reading(engine, LedgerUnavailable, CODE) as connection:
        assert backend_of(connection) != hung


def test_one_that_hangs_is_left_sooner_than_a_statement_is_given_up(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What begins a transaction takes no time, and its end must not be waited for as long."""
    engine = create_engine_for(postgres_server.url())
    with reading(engine, LedgerUnavailable, CODE) as connection:
        hung = backend_of(connection)
    monkeypatch.setattr("gateway.database.one_server.QUESTION_SECONDS", 0.2)
    began_at_seconds = monotonic()
    with stopped(hung), reading(engine, LedgerUnavailable, CODE) as connection:
        assert backend_of(connection) != hung
        assert monotonic() - began_at_seconds < ANSWER_SECONDS / 2
        assert connection.execute(text("SELECT 1 FROM pg_sleep(0.5)")).scalar_one() == 1
    engine.dispose()


def test_an_answer_in_time_may_come_late(engine: Engine) -> None:
    """A wait looks at its deadline ten times a second, and goes on before it."""
    with reading(engine, LedgerUnavailable, CODE) as connection:
        assert connection.execute(text("SELECT 1 FROM pg_sleep(0.12)")).scalar_one() == 1


@pytest.mark.parametrize(
    ("said", "used"), [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply",) * 2]
)
def test_what_is_committed_is_on_the_disk_whatever_server_or_role_say(
    postgres_server: PostgresServer, said: str, used: str
) -> None:
    """D1: the journal drops what the ledger says it has."""
    postgres_server.execute(f"CREATE DATABASE commits_{said}")
    postgres_server.execute(f"ALTER DATABASE commits_{said} SET synchronous_commit = {said}")
    engine = create_engine_for(postgres_server.url(f"commits_{said}"))
    with writing(engine, LedgerUnavailable, CODE) as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == used
        connection.rollback()
    with writing(engine, LedgerUnavailable, CODE) as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == used
    engine.dispose()
    postgres_server.execute(f"DROP DATABASE commits_{said}")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(ANSWER_SECONDS, "30s"), (0.5, "500ms"), (None, "0")]
)
def test_a_server_that_lives_ends_what_takes_too_long(
    postgres_server: PostgresServer, seconds: float | None, shown: str
) -> None:
    engine = create_engine_for(postgres_server.url(), answer_seconds=seconds)
    with reading(engine, LedgerUnavailable, CODE) as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == shown
    engine.dispose()


@pytest.mark.parametrize(
    ("last", "host", "port", "expected"),
    [
        (("b", "2"), "a,b,c", "1,2,3", ("b,a,c", "2,1,3")),
        (("b", "5432"), "a,b", "", ("b,a", "5432,5432")),
        (("b", "7"), "a,b", "7", ("b,a", "7,7")),
        (("a", "1"), "a,b", "1,2", ("a,b", "1,2")),
        (("", ""), "a,b", "1,2", ("a,b", "1,2")),
        (("z", "1"), "a,b", "1,2", ("a,b", "1,2")),
        (("a", "5432"), "a", "", ("a", "")),
    ],
)
def test_the_last_host_comes_first(
    last: tuple[str, str], host: str, port: str, expected: tuple[str, str]
) -> None:
    found = beginning_with(last, {"host": host, "port": port, "user": "u"})
    assert (found["host"], found["port"], found["user"]) == (*expected, "u")
