"""From a database URL to an engine, and from an engine to transactions.

SQLite and PostgreSQL behave alike above this module: a write transaction takes its lock when it
begins, a read transaction sees one state of the database, and a foreign exception leaves as one of
ours. All of it blocks and is meant for threads. No statement of the domain lives here.

Source: design sections 8 and 13.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.errors import GatewayError

CONNECTIONS_MAX: Final = 12
"""Per process: eight key look-ups, the change feed, the shipper, and two for people."""

WAIT_FOR_CONNECTION_SECONDS: Final = 5
CONNECT_TIMEOUT_SECONDS: Final = 5

SILENT_PEER_TIMEOUT_MILLISECONDS: Final = 10_000
"""How long unacknowledged bytes to PostgreSQL may be outstanding before the connection is dead."""

LOCK_TIMEOUT_MILLISECONDS: Final = 10_000
"""How long a statement waits for another transaction: longer than any batch of ours takes."""

ANSWER_SECONDS: Final = 30.0
"""How long PostgreSQL may work at a statement: three times as long as it may wait for a lock, and
ten times as long as the largest batch that can be configured (50,000 records) takes as a whole."""

GIVE_UP_SECONDS: Final = 5.0
"""How much longer an answer is waited for here: a server that still lives says so itself, and ends
what would go on holding its locks."""

_READ_ONLY: Final = "gateway_read_only"

_POSTGRESQL_NAMES: Final = frozenset(
    {"postgres", "postgresql", "postgresql+psycopg", "postgres+psycopg"}
)

_SQLITE_PRAGMAS: Final = (
    # First: the switch to WAL below waits for other processes instead of failing.
    f"PRAGMA busy_timeout={LOCK_TIMEOUT_MILLISECONDS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA foreign_keys=ON",
    # FULL, not NORMAL: in WAL mode NORMAL may lose the last commits in a power failure, and the
    # shipper drops journal segments as soon as the ledger has said that it holds them.
    "PRAGMA synchronous=FULL",
    # Without it INSERT OR REPLACE would delete a row without asking the append-only triggers.
    "PRAGMA recursive_triggers=ON",
)


def create_engine_for(url: str, *, answer_seconds: float | None = ANSWER_SECONDS) -> Engine:
    """Return an engine for ``sqlite:///path/to/file.db`` or ``postgresql://user@host/name``.

    Connects to nothing yet, but looks whether an SQLite file's folder can be written.

    Args:
        url: See above.
        answer_seconds: Longest time for a statement in PostgreSQL; soon after it a connection that
            does not answer is given up. None for what may take as long as it takes, and for which
            somebody waits who would notice: reports, migrations.

    Raises:
        GatewayError: ``database.url_invalid``, ``database.folder_missing`` or
            ``database.not_writable``. Messages never show a password.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    return _postgresql_engine(parsed, answer_seconds)


def describe(engine: Engine) -> str:
    """Return where a database is, without user, password or parameters."""
    return _address(engine.url)


def missing_file(url: str) -> Path | None:
    """Return the file of an SQLite database that nobody has made yet, whole; else None.

    Raises:
        GatewayError: ``database.url_invalid``.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    file = Path(parsed.database or "").absolute()
    return None if file.exists() else file


@contextmanager
def reading(engine: Engine, unavailable: type[GatewayError], code: str) -> Iterator[Connection]:
    """Give a connection in a read transaction.

    Raises:
        GatewayError: ``unavailable(code)`` when the database fails, plain
            ``database.refused_data`` when it does not take what was given to it.
    """
    with _foreign_errors(engine, unavailable, code), engine.connect() as connection:
        yield connection.execution_options(**{_READ_ONLY: True})


@contextmanager
def writing(engine: Engine, unavailable: type[GatewayError], code: str) -> Iterator[Connection]:
    """Give a connection in a write transaction, committed at the end of the block.

    On SQLite the write lock is taken at once: what is read inside can't change before the commit.

    Raises:
        GatewayError: as ``reading``.
    """
    with _foreign_errors(engine, unavailable, code), engine.begin() as connection:
        yield connection


@contextmanager
def _foreign_errors(engine: Engine, unavailable: type[GatewayError], code: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        if _blames_data(error, engine.dialect.name):
            raise _refused_data(engine, _reason(error)) from error
        raise unavailable(
            code,
            f"database {_address(engine.url)} failed: {_reason(error)}",
            "see that the database runs and that this user may reach and change it",
        ) from error
    except OverflowError as error:  # SQLite's driver says so itself, unwrapped
        raise _refused_data(engine, str(error)) from error


def _refused_data(engine: Engine, reason: str) -> GatewayError:
    return GatewayError(
        "database.refused_data",
        f"database {_address(engine.url)} refused a row: {reason}",
        "asking again does not help: what was to be written is wrong",
    )


def _blames_data(error: SQLAlchemyError, dialect: str) -> bool:
    """Return whether the row is at fault and not the database: only then is a retry in vain."""
    if isinstance(error, DataError | IntegrityError):
        return True
    if not isinstance(error, DBAPIError):
        return isinstance(error, StatementError)
    if dialect == "sqlite":
        return isinstance(error, InterfaceError | ProgrammingError)
    # psycopg says ProgrammingError without a code when a value has no SQL type.
    return isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", None) is None


def _reason(error: SQLAlchemyError) -> str:
    """Return the first line of what the driver said; statements and parameters stay out."""
    said = error.orig if isinstance(error, DBAPIError) else error
    lines = str(said).strip().splitlines()
    return lines[0] if lines else type(said).__name__


def _address(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    host = url.host or url.query.get("host") or "(local socket)"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host}{port}/{url.database or ''}"


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The parser's own message may repeat the URL, password included: it is not chained.
        raise _url_invalid("can't be read as a URL") from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise _url_invalid("names no file; a database in memory would forget what was billed")
        if parsed.query or parsed.host:
            raise _url_invalid("takes neither host nor parameters for sqlite")
        return parsed
    if parsed.drivername in _POSTGRESQL_NAMES:
        if any("@" in part for part in (parsed.host or "", parsed.database or "", *parsed.query)):
            # It is where a password goes on that the parser took for ended: nothing is repeated.
            raise _url_invalid("has an @ too many; write one in a password as %40")
        return parsed.set(drivername="postgresql+psycopg")
    raise _url_invalid(f"names an unknown kind of database, {parsed.drivername[:40]!r}")


def _url_invalid(what: str) -> GatewayError:
    return GatewayError(
        "database.url_invalid",
        f"the database URL {what}",
        "write sqlite:///folder/file.db or postgresql://user:password@host:5432/name",
    )


def _null(_value: None) -> None:
    """Adapt None to SQLite, where it needs no adapting.

    Without an adapter the driver looks for one in three places, for each None that it is given.
    """


sqlite3.register_adapter(type(None), _null)


def _sqlite_engine(url: URL) -> Engine:
    file = Path(url.database or "")
    _require_writable(file)
    try:
        engine = create_engine(
            url,
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=WAIT_FOR_CONNECTION_SECONDS,
            hide_parameters=True,
            connect_args={"timeout": LOCK_TIMEOUT_MILLISECONDS / 1000},
        )
    except (ArgumentError, NoSuchModuleError):
        raise _url_invalid("can't be used") from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _require_writable(file: Path) -> None:
    folder = file.parent
    if not folder.is_dir():
        raise GatewayError(
            "database.folder_missing",
            f"folder {folder} of database file {file.name} does not exist",
            "create the folder, or mount the volume, before the gateway starts",
        )
    target = file if file.exists() else folder
    if target.is_dir() and target == file:
        raise GatewayError(
            "database.not_writable",
            f"{file} is a folder, not a database file",
            "name a file inside that folder",
        )
    # WAL needs two more files beside the database, so the folder must be writable as well.
    if not (os.access(target, os.R_OK | os.W_OK) and os.access(folder, os.W_OK)):
        raise GatewayError(
            "database.not_writable",
            f"{target} can't be written by user {os.geteuid()}",
            "give the gateway's user write permission on the folder and the file",
        )


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it would begin them deferred, and a
    # deferred transaction that turns into a writer fails at once when another one writes.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _postgresql_engine(url: URL, answer_seconds: float | None) -> Engine:
    from gateway.database import postgresql  # noqa: PLC0415 - brings psycopg

    try:
        engine = create_engine(
            url,
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=WAIT_FOR_CONNECTION_SECONDS,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=_connect_arguments(url, answer_seconds),
        )
    except (ArgumentError, NoSuchModuleError):
        raise _url_invalid("can't be used") from None
    postgresql.commit_durably(engine)
    if answer_seconds is not None:
        postgresql.bound_answers(engine, answer_seconds + GIVE_UP_SECONDS)
    return engine


def _connect_arguments(url: URL, answer_seconds: float | None) -> dict[str, object]:
    """Return what is said at each connect; a URL may say it otherwise."""
    ours: dict[str, object] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "tcp_user_timeout": SILENT_PEER_TIMEOUT_MILLISECONDS,
        "application_name": "enforcement-gateway",
    }
    options = [f"-c lock_timeout={LOCK_TIMEOUT_MILLISECONDS} -c timezone=UTC"]
    if answer_seconds is not None:
        options.append(f"-c statement_timeout={round(answer_seconds * 1000)}")
    # Of an option that is said twice the server takes the last.
    options += url.normalized_query.get("options", ())
    return {
        **{name: value for name, value in ours.items() if name not in url.query},
        "options": " ".join(options),
    }
