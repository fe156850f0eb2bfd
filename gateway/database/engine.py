"""From a database URL to an engine, and from an engine to transactions.

SQLite and PostgreSQL behave alike above this module: a write transaction takes its lock when it
begins, a read transaction sees one state of the database, and a foreign exception leaves as one of
ours. All of it blocks and is meant for threads. No statement of the domain lives here.

Source: design sections 8 and 13.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, RootTransaction
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)

from gateway.database.one_server import ServerLeft, ServerUnfit
from gateway.database.sqlite import READ_ONLY, sqlite_engine
from gateway.database.troubles import Trouble, trouble_of
from gateway.database.url import SqliteUrl, parse_database_url
from gateway.errors import GatewayError

CONNECTIONS_MAX: Final = 12
"""Per process: eight key look-ups, the change feed, the shipper, and two for people."""

WAIT_FOR_CONNECTION_SECONDS: Final = 5

LOCK_TIMEOUT_MILLISECONDS: Final = 10_000
"""How long a statement waits for another transaction: longer than any batch of ours takes."""

ANSWER_SECONDS: Final = 30.0
"""How long PostgreSQL may work at a statement: three times as long as it may wait for a lock, and
ten times as long as the largest batch that can be configured (50,000 records) takes as a whole."""

_POOL: Final = {
    "pool_size": CONNECTIONS_MAX,
    "max_overflow": 0,
    "pool_timeout": WAIT_FOR_CONNECTION_SECONDS,
    "hide_parameters": True,
}

_TRIES: Final = 3
"""Of beginning a transaction: the first connection may have led to a server that is left, and so
may one that was made while servers changed."""

_REASON_CHARACTERS_MAX: Final = 500


def create_engine_for(url: str, *, answer_seconds: float | None = ANSWER_SECONDS) -> Engine:
    """Return an engine for ``sqlite:///path/to/file.db`` or ``postgresql://user@host/name``.

    Connects to nothing yet, but makes an SQLite file that is not there.

    Args:
        url: See ``gateway.database.url``.
        answer_seconds: Longest time for a statement in PostgreSQL; soon after it a connection that
            does not answer is given up. None for what may take as long as it takes, and for which
            somebody waits who would notice: reports, migrations.

    Raises:
        GatewayError: ``database.url_invalid``, ``database.folder_missing`` or
            ``database.not_writable``. Messages never show a password.
    """
    parsed = parse_database_url(url)
    if isinstance(parsed, SqliteUrl):
        lock_seconds = LOCK_TIMEOUT_MILLISECONDS / 1000
        return sqlite_engine(parsed.file, lock_seconds=lock_seconds, pool=_POOL)
    from gateway.database.postgresql import postgresql_engine  # noqa: PLC0415 - brings psycopg

    return postgresql_engine(
        parsed,
        lock_milliseconds=LOCK_TIMEOUT_MILLISECONDS,
        answer_seconds=answer_seconds,
        pool=_POOL,
    )


def describe(engine: Engine) -> str:
    """Return where a database is, without user, password or parameters."""
    return _address(engine.url)


def missing_file(url: str) -> Path | None:
    """Return the file of an SQLite database that is not made yet, whole; otherwise None.

    Raises:
        GatewayError: ``database.url_invalid``.
    """
    parsed = parse_database_url(url)
    if not isinstance(parsed, SqliteUrl):
        return None
    file = parsed.file.absolute()
    return None if file.exists() else file


@contextmanager
def reading(engine: Engine, unavailable: type[GatewayError], code: str) -> Iterator[Connection]:
    """Give a connection in a read transaction.

    Raises:
        GatewayError: ``unavailable`` when the database fails, with ``code`` or the code of a
            trouble that has one (``gateway.database.troubles``); plain ``database.refused_data``
            when it does not take what was given to it.
    """
    with _foreign_errors(engine, unavailable, code), _begun(engine, reads_only=True)[0] as opened:
        yield opened


@contextmanager
def writing(engine: Engine, unavailable: type[GatewayError], code: str) -> Iterator[Connection]:
    """Give a connection in a write transaction, committed at the end of the block.

    On SQLite the write lock is taken at once: what is read inside can't change before the commit.

    Raises:
        GatewayError: as ``reading``.
    """
    with _foreign_errors(engine, unavailable, code):
        connection, transaction = _begun(engine, reads_only=False)
        with connection, transaction:
            yield connection


def _begun(engine: Engine, *, reads_only: bool) -> tuple[Connection, RootTransaction]:
    """Return a connection in a transaction.

    A connection that turns out to be broken, or to lead to a server that takes no writes, is given
    up with all that are older, and a new one is tried.
    """
    began_at_seconds = monotonic()
    for tries_left in reversed(range(_TRIES)):
        connection = engine.connect().execution_options(**{READ_ONLY: reads_only})
        try:
            return connection, connection.begin()
        except DBAPIError as error:
            connection.close()
            if not (error.connection_invalidated and tries_left):
                raise
        except ServerUnfit as error:
            connection.close()
            is_newest = error.made_at_seconds >= began_at_seconds
            if not tries_left or (is_newest and not isinstance(error, ServerLeft)):
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("the last try returns or raises")


@contextmanager
def _foreign_errors(engine: Engine, unavailable: type[GatewayError], code: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        if _blames_data(error, engine.dialect.name):
            raise _refused_data(engine, _reason(error)) from error
        state, said = _said(error)
        raise _failed(engine, unavailable, code, trouble_of(state, said), _reason(error)) from error
    except ServerUnfit as error:
        raise _failed(engine, unavailable, code, error.trouble, str(error)) from error
    except OverflowError as error:  # SQLite's driver says so itself, unwrapped
        raise _refused_data(engine, str(error)) from error


def _failed(
    engine: Engine, unavailable: type[GatewayError], code: str, trouble: Trouble, reason: str
) -> GatewayError:
    message = f"database {_address(engine.url)} failed: {reason}"
    return unavailable(trouble.code or code, message, trouble.hint)


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
    # psycopg says ProgrammingError without a code when a value has no SQL type, and without a
    # statement when a parameter of the connection has no meaning.
    is_from_here = getattr(error.orig, "sqlstate", None) is None and error.statement is not None
    return isinstance(error, ProgrammingError) and is_from_here


def _said(error: SQLAlchemyError) -> tuple[str | None, str]:
    """Return the SQLSTATE, if there is one, and the whole text of the driver."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return getattr(said, "sqlstate", None), str(said)


def _reason(error: SQLAlchemyError) -> str:
    """Return what the driver said, of each server that was tried; statements stay out."""
    state, text = _said(error)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if state is not None or not lines:
        return lines[0] if lines else type(error).__name__
    tried = [line for line in lines if line.startswith("- host:")]
    return "; ".join(tried or lines[:1])[:_REASON_CHARACTERS_MAX]


def _address(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    return f"postgresql://{url.host or '(local socket)'}/{url.database or ''}"
