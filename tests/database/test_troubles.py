"""A hint that fits: each refusal of real servers is understood, and none repeats a password."""

import shutil
import socket
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.database.engine import create_engine_for, reading, writing
from gateway.database.schema import migrate
from gateway.database.troubles import GENERAL, TROUBLES, trouble_of
from gateway.errors import (
    CANNOT_START,
    PASSING,
    PROBLEM,
    GatewayError,
    LedgerUnavailable,
    start_code,
)
from tests.support.gateway_process import free_port
from tests.support.postgres_server import PASSWORD, USER, PostgresServer, running_postgres

CODE = "ledger.unavailable"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One whose users, databases and settings these tests change."""
    with running_postgres(port=free_port(), settings={"max_connections": "12"}) as server:
        server.execute(f"CREATE ROLE weak LOGIN PASSWORD '{PASSWORD}'")
        server.execute(f"CREATE ROLE late LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0")
        server.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
        server.execute("ALTER ROLE reader SET default_transaction_read_only = on")
        server.execute("CREATE ROLE nologin PASSWORD 'x'")
        server.execute("CREATE DATABASE closed")
        server.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        yield server


def error_of(url: str, statement: str = "SELECT 1") -> GatewayError:
    """Return the error that a use of a database ends with."""
    engine = create_engine_for(url)
    with (
        pytest.raises(GatewayError) as caught,
        writing(engine, LedgerUnavailable, CODE) as connection,
    ):
        connection.execute(text(statement))
    engine.dispose()
    told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert PASSWORD not in told
    assert "another-Pw" not in told
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "code", "hint"),
    [
        (PASSWORD, "another-Pw", "database.access_refused", "password"),
        (f":{PASSWORD}", "", "database.access_refused", "password"),
        (f"{USER}:", "nobody:", "database.access_refused", "user"),
        (f"{USER}:", "nologin:", "database.access_refused", "user"),
        ("/postgres", "/nowhere", "database.absent", "CREATE DATABASE"),
        (f"{USER}:", "late:", "database.connections_exhausted", "max_connections"),
        (f"{USER}:", "reader:", "database.read_only", "default_transaction_read_only"),
        ("/postgres", "/postgres?sslmode=require", "database.tls", "sslmode"),
        ("/postgres", "/postgres?sslmode=perhaps", "database.tls", "sslmode"),
        ("/postgres", "/postgres?sslmode=verify-full&sslrootcert=/no", "database.tls", "sslroot"),
        ("127.0.0.1", "no-such-host.invalid", CODE, "name server"),
        ("/postgres", "/postgres?connect_timeout=never", CODE, "correct the parameter"),
    ],
)
def test_a_refused_connection_is_understood(
    server: PostgresServer, old: str, new: str, code: str, hint: str
) -> None:
    url = server.tcp_url()
    assert old in url
    error = error_of(url.replace(old, new))
    assert isinstance(error, LedgerUnavailable)
    assert (error.code, hint in error.hint) == (code, True), (error.code, error.message, error.hint)


def test_a_database_without_permission_to_connect_is_understood(server: PostgresServer) -> None:
    error = error_of(server.tcp_url("closed").replace(f"{USER}:", "weak:"))
    assert error.code == "database.not_permitted"


@pytest.mark.parametrize(
    ("statement", "code", "hint"),
    [
        ("CREATE TABLE pg_catalog.mine (a int)", "database.not_permitted", "GRANT"),
        ("CREATE TABLE nosuch.mine (a int)", "database.schema_absent", "search_path"),
        ("SELECT * FROM nowhere", CODE, "tables"),
        ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(9)", CODE, "pg_stat_activity"),
    ],
)
def test_a_refused_statement_is_understood(
    server: PostgresServer, statement: str, code: str, hint: str
) -> None:
    error = error_of(server.tcp_url().replace(f"{USER}:", "weak:"), statement)
    assert (error.code, hint in error.hint) == (code, True), (error.code, error.message, error.hint)


def test_a_schema_that_is_not_there_is_understood(server: PostgresServer) -> None:
    """The database runs: that is no hint."""
    engine = create_engine_for(f"{server.tcp_url()}?options=-csearch_path%3Dnosuch")
    with pytest.raises(GatewayError) as caught:
        migrate(engine)
    engine.dispose()
    assert caught.value.code == "database.schema_absent"
    assert "search_path" in caught.value.hint


def test_a_user_who_may_create_nothing_is_understood(server: PostgresServer) -> None:
    engine = create_engine_for(server.tcp_url().replace(f"{USER}:", "weak:"))
    with pytest.raises(GatewayError) as caught:
        migrate(engine)
    engine.dispose()
    assert caught.value.code == "database.not_permitted"


def test_a_full_server_is_understood(server: PostgresServer) -> None:
    weak = server.tcp_url().replace(f"{USER}:", "weak:")
    engine = create_engine_for(weak)
    with ExitStack() as stack:
        for _ in range(9):  # three are kept for superusers
            stack.enter_context(reading(engine, LedgerUnavailable, CODE))
        assert error_of(weak).code == "database.connections_exhausted"
    engine.dispose()


def test_nobody_listening_and_nobody_answering_are_understood() -> None:
    refused = error_of(f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{free_port()}/x")
    assert refused.code == CODE
    assert "listen_addresses" in refused.hint
    absent = error_of(f"postgresql://{USER}:{PASSWORD}@/x?host=/nonexistent")
    assert "host and port" in absent.hint
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/x?connect_timeout=2"
        assert "gave no answer" in error_of(url).hint


def test_each_of_several_servers_says_why(server: PostgresServer) -> None:
    closed = free_port()
    url = server.tcp_url("nowhere").replace(
        f"127.0.0.1:{server.port}", f"127.0.0.1:{closed},127.0.0.1:{server.port}"
    )
    error = error_of(url)
    assert error.code == "database.absent"
    assert str(closed) in error.message
    assert str(server.port) in error.message


@contextmanager
def small_disk() -> Iterator[Path]:
    folder = Path("/tmp") / f"small-{free_port()}"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        folder.rmdir()
        pytest.skip("no disk of its own can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_is_understood() -> None:
    with small_disk() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        error = error_of(url, "CREATE TABLE fat AS SELECT zeroblob(1000000)")
    assert error.code == "database.full"


@pytest.mark.parametrize(
    ("state", "said", "code"),
    [
        ("53100", "could not extend file", "database.full"),
        ("53200", "out of memory", "database.out_of_memory"),
        ("53300", "zu viele Verbindungen", "database.connections_exhausted"),
        ("25006", "kann INSERT nicht ausfuehren", "database.read_only"),
        ("57P03", "the database system is starting up", ""),
        ("57P01", "terminating connection", ""),
        ("26000", 'prepared statement "_pg3_0" does not exist', "database.pooler_unfit"),
        ("42P05", 'prepared statement "_pg3_0" already exists', "database.pooler_unfit"),
        ("08P01", "unsupported startup parameter: options", "database.pooler_unfit"),
        ("XX000", "hot standby", ""),
        (None, "FATAL: no pg_hba.conf entry for host, no encryption", "database.tls"),
        (None, "FATAL: no pg_hba.conf entry for host, SSL encryption", "database.access_refused"),
        (None, "connection failed: session is read-only", "database.read_only"),
        (None, "connection failed: server is in hot standby mode", "database.read_only"),
        (None, "FATAL: the database system is starting up", ""),
        (None, "pgbouncer cannot connect to server", ""),
        (None, "the unheard-of", ""),
    ],
)
def test_codes_and_texts_are_told_apart(state: str | None, said: str, code: str) -> None:
    found = trouble_of(state, said)
    assert found.code == code
    if said in {"the unheard-of", "hot standby"}:
        assert found is GENERAL
    else:
        assert found is not GENERAL


def test_only_what_the_next_start_can_not_help_ends_for_good() -> None:
    codes = {trouble.code for trouble in TROUBLES if trouble.code}
    assert codes - PASSING == {"database.not_writable"}
    assert start_code("database.read_only") == PROBLEM
    assert start_code("database.too_old") == CANNOT_START
