"""A pooler that pools by transaction carries no session: whatever is set or prepared is lost."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count

import pytest
from sqlalchemy import Engine, text

from gateway.database.engine import create_engine_for, reading, writing
from gateway.database.schema import migrate
from gateway.errors import GatewayError, LedgerUnavailable
from gateway.keys.sql import SqlKeyStore
from gateway.ledger.sql import SqlLedger
from gateway.process.clock import SystemClock
from tests.ledger.test_suite import record
from tests.support.gateway_process import free_port, wait_until
from tests.support.pgbouncer_server import PgBouncer, running_pgbouncer
from tests.support.postgres_server import PASSWORD, PostgresServer, running_postgres

CODE = "ledger.unavailable"
THREADS = 8
_numbers = count(1)


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """One server connection for everybody: any two transactions follow each other on it."""
    with running_pgbouncer(postgres_server, default_pool_size=1) as pooler:
        yield pooler


@pytest.fixture
def url(pooler: PgBouncer) -> Iterator[str]:
    name = f"pooled_{next(_numbers)}"
    pooler.server.execute(f"CREATE DATABASE {name}")
    yield pooler.url(name)
    pooler.server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine_for(url)
    migrate(engine)
    yield engine
    engine.dispose()


def refused_by(url: str) -> GatewayError:
    engine = create_engine_for(url)
    with (
        pytest.raises(LedgerUnavailable) as caught,
        writing(engine, LedgerUnavailable, CODE) as connection,
    ):
        connection.execute(text("SELECT 1"))
    engine.dispose()
    assert PASSWORD not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


def test_processes_that_start_together_migrate_once(url: str) -> None:
    engines = [create_engine_for(url, answer_seconds=None) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert all(status.is_current for status in threads.map(migrate, engines))
    for engine in engines:
        engine.dispose()


def test_each_transaction_has_its_settings_and_leaves_none(engine: Engine, url: str) -> None:
    names = ("lock_timeout", "statement_timeout", "synchronous_commit", "timezone")
    for _ in range(3):
        with writing(engine, LedgerUnavailable, CODE) as connection:
            found = [connection.scalar(text(f"SHOW {name}")) for name in names]
            assert found == ["10s", "30s", "on", "UTC"]
    other = create_engine_for(f"{url}?application_name=other", answer_seconds=None)
    with reading(other, LedgerUnavailable, CODE) as connection:  # on the same server connection
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
        assert connection.scalar(text("SHOW lock_timeout")) == "10s"
    other.dispose()


def test_no_statement_is_prepared(engine: Engine) -> None:
    """Psycopg prepares what it has seen five times; another session knows nothing of it."""

    def ask(number: int) -> int:
        with reading(engine, LedgerUnavailable, CODE) as connection:
            return int(connection.scalar(text("SELECT CAST(:n AS int)"), {"n": number}) or 0)

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(ask, range(200))) == list(range(200))
    with reading(engine, LedgerUnavailable, CODE) as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_ledger_and_keys_work_side_by_side(engine: Engine, url: str) -> None:
    ledgers = [SqlLedger(create_engine_for(url)) for _ in range(3)]
    store = SqlKeyStore(engine, SystemClock())

    def work(number: int) -> int:
        ledger = ledgers[number % len(ledgers)]
        assert store.load(number.to_bytes(32, "big")) is None
        assert store.feed_end().sequence == 0
        return ledger.append([record(number, run_id=f"run-{number}")])

    with ThreadPoolExecutor(THREADS) as threads:
        assert sum(threads.map(work, range(80))) == 80
    assert len(ledgers[0].events(workspace_id=None, period=None)) == 80
    for ledger in ledgers:
        ledger.close()


def test_a_pooler_by_session_will_do(postgres_server: PostgresServer) -> None:
    with running_pgbouncer(postgres_server, pool_mode="session") as pooler:
        engine = create_engine_for(pooler.url())
        with writing(engine, LedgerUnavailable, CODE) as connection:
            assert connection.scalar(text("SHOW lock_timeout")) == "10s"
        engine.dispose()


def test_a_pooler_by_statement_is_refused_with_what_to_do(postgres_server: PostgresServer) -> None:
    with running_pgbouncer(postgres_server, pool_mode="statement") as pooler:
        error = refused_by(pooler.url())
    assert error.code == "database.pooler_unfit"
    assert "pool_mode" in error.hint


def test_options_are_for_no_pooler(pooler: PgBouncer) -> None:
    error = refused_by(f"{pooler.url()}?options=-csearch_path%3Dpublic")
    assert error.code == "database.pooler_unfit"
    assert "`options`" in error.hint
    assert "ALTER ROLE" in error.hint


def test_what_a_pooler_refuses_is_understood(pooler: PgBouncer) -> None:
    wrong = pooler.url().replace(PASSWORD, "another")
    assert refused_by(wrong).code == "database.access_refused"
    assert refused_by(pooler.url().replace("gateway:", "nobody:")).code == "database.access_refused"
    assert refused_by(pooler.url("nowhere")).code == "database.absent"


def test_a_pooler_that_leads_elsewhere_is_followed() -> None:
    """The connections to it live on: that they are old or new says nothing of the server."""
    with ExitStack() as stack:
        old = stack.enter_context(running_postgres(port=free_port()))
        new = stack.enter_context(running_postgres(port=free_port(), copy_of=old))
        pooler = stack.enter_context(running_pgbouncer(old))
        engine = create_engine_for(pooler.url())
        stack.callback(engine.dispose)

        def server() -> str:
            with reading(engine, LedgerUnavailable, CODE) as connection:
                return str(connection.scalar(text("SHOW port")))

        assert server() == str(old.port)
        old.demote()
        with pytest.raises(LedgerUnavailable, match="takes no writes"):
            server()
        pooler.lead_to(new)
        wait_until(lambda: suppressed(server) == str(new.port))
        assert {server() for _ in range(5)} == {str(new.port)}


def suppressed(ask: Callable[[], str]) -> str | None:
    with suppress(LedgerUnavailable):
        return ask()
    return None


def test_a_full_pooler_is_understood(postgres_server: PostgresServer) -> None:
    with running_pgbouncer(postgres_server, max_client_conn=1) as pooler:
        engine = create_engine_for(pooler.url())
        with reading(engine, LedgerUnavailable, CODE):
            assert refused_by(pooler.url()).code == "database.connections_exhausted"
        engine.dispose()
