"""Sees that all connections of an engine lead to one PostgreSQL, which takes writes.

After a failover the old server may live on: demoted, read-only, following the new one, or not even
knowing. A connection to it answers, so a ping proves nothing. Each transaction therefore begins
with one question: does this server take writes, and which one is it. The same statement makes the
settings of the transaction, since a pooler in transaction mode carries none from one to the next.

A server that takes no writes is refused, to readers as well: what it holds may be old. When a newer
connection finds another server, all older ones are replaced. An old primary that still takes writes
can't be told from the right one; that is bounded by the age of connections (``pool_recycle``).

Sources: PostgreSQL documentation, appendix A (25006) and 34.1.2 (``target_session_attrs``);
SQLAlchemy, "Dealing with disconnects"; PgBouncer, "SQL feature map for pooling modes".
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from threading import Lock
from time import monotonic
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.database.troubles import READ_ONLY, TOO_OLD, Trouble

OLDEST_VERSION: Final = 130_000
"""libpq's number of PostgreSQL 13."""

QUESTION_SECONDS: Final = 10.0
"""How long the question that begins a transaction may take: no server needs so long for it, though
a pooler's queue may. A server that stands still is left sooner than a statement's bound says."""

_TOLD_EVERY_SECONDS: Final = 10.0

_MADE_AT: Final = "gateway.made_at_seconds"
_SERVER: Final = "gateway.server"

_WRONG_SERVER: Final = ("08", "57P", "25006", "25P02", "26", "42P05", "55000", "0A000")
"""SQLSTATEs, or how they begin, after which no older connection is used again: connections that
broke, servers that stop or start, read-only ones, a pooler's that has lost its state, and what a
server refuses because it recovers (of which 55000 and 0A000 may mean something else: then it costs
some new connections)."""

_WHICH_SERVER: Final = (
    "concat_ws(' ', inet_server_addr(), inet_server_port(), "
    "extract(epoch FROM pg_postmaster_start_time()))"
)

_COMMIT_DURABLY: Final = (
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
    "WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
)
"""Where a server, database or role says ``off``, a commit is acknowledged before it is on the disk:
a ledger that crashes forgets what the journal has dropped, a key database revocations. Any other
value waits for one disk at least; which ones is the operator's choice."""

_log = structlog.get_logger("database")


class ServerUnfit(Exception):  # noqa: N818 - it is a finding
    """A connection leads to a server that can't be used.

    Attributes:
        trouble: Code and hint.
        made_at_seconds: When its connection was made, by the monotonic clock: a newer one may lead
            elsewhere.
    """

    def __init__(self, message: str, trouble: Trouble, made_at_seconds: float) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.made_at_seconds = made_at_seconds


class ServerLeft(ServerUnfit):
    """A connection leads to a server that newer ones do not lead to any more."""


class OneServer:
    """Watches the connections of one engine; thread-safe.

    Args:
        settings: Of each transaction, by their names in PostgreSQL.
        shown: What logs call the database.
    """

    def __init__(self, settings: Mapping[str, str], shown: str) -> None:
        self._question = _question(settings)
        self._shown = shown
        self._lock = Lock()
        self._not_before_seconds = 0.0
        self._server = ""
        self._found_by_seconds = 0.0  # when the connection was made that found it
        self._told_at_seconds = -inf

    def watch(self, engine: Engine) -> None:
        """Begin to watch an engine, before its first connection."""
        event.listen(engine, "connect", self._note_new)
        event.listen(engine, "checkout", self._replace_old)
        event.listen(engine, "begin", self._ask)
        event.listen(engine, "handle_error", _judge)

    def _note_new(self, connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info[_MADE_AT] = made_at_seconds = monotonic()
        version = connection.info.server_version
        if version and version < OLDEST_VERSION:
            told = f"it is PostgreSQL {version // 10_000}, which is too old"
            raise ServerUnfit(told, TOO_OLD, made_at_seconds)

    def _replace_old(
        self, _connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object
    ) -> None:
        if entry.info[_MADE_AT] < self._not_before_seconds:
            raise DisconnectionError("older than the last change of servers")

    def _ask(self, connection: Connection) -> None:
        with _soon(connection.connection.driver_connection):
            recovers, reads_only, server = connection.exec_driver_sql(self._question).one()[:3]
        made_at_seconds: float = connection.info[_MADE_AT]
        if recovers or reads_only:
            with self._lock:
                # Newer ones that other threads make now may be right: they are used once more.
                self._not_before_seconds = monotonic()
            connection.invalidate()
            what = "follows another one or recovers" if recovers else "takes no writes"
            raise ServerUnfit(f"this server {what}", READ_ONLY, made_at_seconds)
        connection.info[_SERVER] = server
        if server != self._server and not self._is_newest(server, made_at_seconds):
            connection.invalidate()
            raise ServerLeft("this server was left for another", READ_ONLY, made_at_seconds)

    def _is_newest(self, server: str, made_at_seconds: float) -> bool:
        """Go over to the server of a newer connection; return False if this one is older."""
        with self._lock:
            if server == self._server:
                return True
            if made_at_seconds < self._found_by_seconds:
                return False
            if self._server:
                self._not_before_seconds = max(self._not_before_seconds, made_at_seconds)
                self._tell_change()
            self._server, self._found_by_seconds = server, made_at_seconds
        return True

    def _tell_change(self) -> None:
        """Log a change; a pooler that leads to two servers by turns would have many."""
        now_seconds = monotonic()
        if now_seconds - self._told_at_seconds >= _TOLD_EVERY_SECONDS:
            self._told_at_seconds = now_seconds
            _log.info("database.server_changed", database=self._shown)


@contextmanager
def _soon(driver: Any) -> Iterator[None]:  # noqa: ANN401 - a ``BoundedConnection``, or psycopg's own
    """Wait no longer than for the question, where there is a bound at all."""
    usual_seconds = getattr(driver, "answer_seconds", inf)
    if usual_seconds == inf:
        yield
        return
    driver.answer_seconds = min(usual_seconds, QUESTION_SECONDS)
    try:
        yield
    finally:
        driver.answer_seconds = usual_seconds


def server_of(connection: Connection) -> str:
    """Return what names the server of a connection's transaction; empty for SQLite.

    It differs between two servers, and between two lives of one.
    """
    name: str = connection.info.get(_SERVER, "")
    return name


def _question(settings: Mapping[str, str]) -> str:
    """Return the statement that begins a transaction."""
    asked = (
        "pg_catalog.pg_is_in_recovery()",
        "current_setting('transaction_read_only') = 'on'",
        _WHICH_SERVER,
        _COMMIT_DURABLY,
        *(f"set_config('{name}', '{value}', true)" for name, value in settings.items()),
    )
    return f"SELECT {', '.join(asked)}"


def _judge(context: ExceptionContext) -> None:
    state = getattr(context.original_exception, "sqlstate", None)
    if state is not None and context.connection is not None and state.startswith(_WRONG_SERVER):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = True
