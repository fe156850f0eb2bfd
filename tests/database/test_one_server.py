"""A connection that is alive proves nothing: it may lead to a server that was left."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic

import pytest
from sqlalchemy import Connection, Engine, text

from gateway.database import postgresql
from gateway.database.engine import create_engine_for, reading, writing
from gateway.database.one_server import OLDEST_VERSION, server_of
from gateway.errors import LedgerUnavailable
from tests.support.forwarder import Forwarder
from tests.support.gateway_process import free_port
from tests.support.postgres_server import PostgresServer, running_postgres

CODE = "ledger.unavailable"
NOTES = "CREATE TABLE notes (words text)"
MANY = 5


@dataclass
class Pair:
    """An old server, a new one that began as its copy, and what leads to one of them."""

    old: PostgresServer
    new: PostgresServer
    forwarder: Forwarder

    def engine(self) -> Engine:
        return create_engine_for(self.old.tcp_url(port=self.forwarder.port))

    def switch(self) -> None:
        self.forwarder.target = self.new.port


@contextmanager
def pair_of_servers(*, is_standby: bool) -> Iterator[Pair]:
    with ExitStack() as stack:
        old = stack.enter_context(running_postgres(port=free_port()))
        old.execute(NOTES)
        copy = running_postgres(port=free_port(), copy_of=old, is_standby=is_standby)
        new = stack.enter_context(copy)
        forwarder = stack.enter_context(Forwarder(old.port).running())
        yield Pair(old, new, forwarder)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_of_servers(is_standby=False) as pair:
        yield pair


def port_of(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT inet_server_port()")) or 0)


def ports(engine: Engine, number: int = MANY) -> set[int]:
    """Return where connections lead that are used at the same time."""
    with ExitStack() as stack:
        contexts = [reading(engine, LedgerUnavailable, CODE) for _ in range(number)]
        return {port_of(stack.enter_context(context)) for context in contexts}


def note(engine: Engine, words: str) -> None:
    with writing(engine, LedgerUnavailable, CODE) as connection:
        connection.execute(text("INSERT INTO notes VALUES (:words)"), {"words": words})


def test_a_demoted_server_is_left_by_writers_and_readers(pair: Pair) -> None:
    """25006 is no broken connection to SQLAlchemy, and readers never see it."""
    engine = pair.engine()
    assert ports(engine) == {pair.old.port}
    pair.switch()
    pair.old.demote()
    note(engine, "after")
    assert ports(engine) == {pair.new.port}
    assert pair.new.value("SELECT count(*) FROM notes") == 1
    assert pair.old.value("SELECT count(*) FROM notes") == 0
    engine.dispose()


def test_a_reader_alone_leaves_a_demoted_server(pair: Pair) -> None:
    engine = pair.engine()
    assert ports(engine) == {pair.old.port}
    pair.switch()
    pair.old.demote()
    assert ports(engine, 1) == {pair.new.port}
    assert ports(engine) == {pair.new.port}
    engine.dispose()


def test_a_killed_server_is_left(pair: Pair) -> None:
    engine = pair.engine()
    assert ports(engine) == {pair.old.port}
    pair.switch()
    pair.old.kill()
    note(engine, "after")
    assert ports(engine) == {pair.new.port}
    engine.dispose()


def test_connections_that_the_server_ended_cost_no_error(pair: Pair) -> None:
    """57P01: all of the pool's are replaced at once, not one by one."""
    engine = pair.engine()
    assert ports(engine) == {pair.old.port}
    ended = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND application_name = 'enforcement-gateway'"
    )
    assert pair.old.value(ended) == MANY
    note(engine, "after")
    assert ports(engine) == {pair.old.port}
    engine.dispose()


def test_a_refused_write_drops_the_whole_pool(pair: Pair) -> None:
    engine = pair.engine()
    assert ports(engine) == {pair.old.port}
    pair.switch()

    def write_at_last() -> None:
        with writing(engine, LedgerUnavailable, CODE) as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            connection.execute(text("INSERT INTO notes VALUES ('x')"))

    with pytest.raises(LedgerUnavailable, match="read-only") as caught:
        write_at_last()
    assert caught.value.code == "database.read_only"
    assert ports(engine) == {pair.new.port}
    engine.dispose()


def test_an_old_primary_that_does_not_know_it_is_left_with_the_age_of_its_connections(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells it from the right one: both take writes."""
    monkeypatch.setattr(postgresql, "CONNECTION_AGE_MAX_SECONDS", 0.5)
    engine = pair.engine()
    assert ports(engine) == {pair.old.port}
    pair.switch()
    switched_at = monotonic()
    while ports(engine) != {pair.new.port}:
        assert monotonic() - switched_at < 20
    engine.dispose()


def test_one_connection_that_finds_another_server_replaces_all(pair: Pair) -> None:
    engine = pair.engine()
    assert ports(engine, 2) == {pair.old.port}
    pair.switch()
    with ExitStack() as stack:
        contexts = [reading(engine, LedgerUnavailable, CODE) for _ in range(3)]
        used = [stack.enter_context(context) for context in contexts]
        names = [server_of(connection) for connection in used]
        assert port_of(used[2]) == pair.new.port
        assert names[0] == names[1] != names[2] != ""
    assert ports(engine) == {pair.new.port}
    engine.dispose()


def test_many_threads_leave_a_server_without_an_error(pair: Pair) -> None:
    engine = pair.engine()

    def work(number: int) -> None:
        if number == 100:
            pair.switch()
            pair.old.demote()
        note(engine, str(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(300)))
    written = "SELECT count(*) FROM notes"
    old, new = pair.old.value(written), pair.new.value(written)
    assert isinstance(old, int)
    assert isinstance(new, int)
    assert old + new == 300
    assert new > 0
    assert ports(engine) == {pair.new.port}
    engine.dispose()


def test_a_standby_serves_nobody_until_it_is_promoted() -> None:
    """It answers, and what it answers may be old: its replay may be paused."""
    with pair_of_servers(is_standby=True) as pair:
        pair.switch()
        engine = pair.engine()
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="follows another one") as caught:
                ports(engine, 1)
            assert caught.value.code == "database.read_only"
            assert "target_session_attrs=read-write" in caught.value.hint
        pair.new.promote()
        assert ports(engine) == {pair.new.port}
        engine.dispose()


def test_several_hosts_are_tried_for_the_one_that_takes_writes() -> None:
    with pair_of_servers(is_standby=True) as pair:
        both = pair.old.tcp_url().replace(
            f"127.0.0.1:{pair.old.port}",
            f"127.0.0.1:{free_port()},127.0.0.1:{pair.new.port},127.0.0.1:{pair.old.port}",
        )
        for url in (both, f"{both}?target_session_attrs=primary"):
            engine = create_engine_for(url)
            assert ports(engine) == {pair.old.port}
            engine.dispose()
        engine = create_engine_for(both)
        assert ports(engine) == {pair.old.port}
        pair.old.kill()
        pair.new.promote()
        assert ports(engine) == {pair.new.port}
        engine.dispose()


def test_a_host_that_is_gone_without_a_trace_is_waited_for_once(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        both = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{pair.old.port}"
        engine = create_engine_for(pair.old.tcp_url().replace(f"127.0.0.1:{pair.old.port}", both))
        assert ports(engine, 1) == {pair.old.port}
        began_at = monotonic()
        assert ports(engine) == {pair.old.port}
        assert monotonic() - began_at < postgresql.CONNECT_TIMEOUT_OF_SEVERAL_SECONDS
        engine.dispose()


def test_a_server_that_is_too_old_is_refused(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OLDEST_VERSION == 130_000
    monkeypatch.setattr("gateway.database.one_server.OLDEST_VERSION", 990_000)
    engine = create_engine_for(postgres_server.url())
    with pytest.raises(LedgerUnavailable, match="too old") as caught:
        ports(engine, 1)
    assert caught.value.code == "database.too_old"
    engine.dispose()


def test_the_forwarder_works_however_many_files_are_open() -> None:
    """A whole suite in one process has more than the 1024 descriptors that select() takes."""
    with ExitStack() as stack:
        target = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(1100):
            stack.enter_context(open(os.devnull, "rb"))  # noqa: PTH123 - a descriptor
        forwarder = stack.enter_context(Forwarder(target.getsockname()[1]).running())
        client = stack.enter_context(socket.create_connection(("127.0.0.1", forwarder.port)))
        client.sendall(b"there")
        server, _ = target.accept()
        stack.enter_context(server)
        assert server.recv(100) == b"there"
        server.sendall(b"back")
        assert client.recv(100) == b"back"
