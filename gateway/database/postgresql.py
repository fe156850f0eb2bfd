"""An engine on PostgreSQL: what its connections say and do beyond SQLAlchemy's.

A server that fails says so. One that hangs (a frozen disk, a stopped machine whose kernel still
acknowledges) says nothing, and neither libpq nor psycopg knows a deadline for an answer.

Nothing is kept in a session: no start parameter, no SET outside of a transaction, no prepared
statement. So a pooler in transaction mode may stand between (docs/operations.md).

Apart from ``engine`` because psycopg is loaded only where there is such a database.
Source: design section 13; psycopg, "Prepared statements".
"""

import re
from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import Any, Final, TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import PQGen
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

from gateway.database.one_server import OneServer
from gateway.database.url import DEFAULT_PORT, PostgresqlUrl

CONNECT_TIMEOUT_SECONDS: Final = 5
CONNECT_TIMEOUT_OF_SEVERAL_SECONDS: Final = 2
"""For each host, where there are several: the next one is tried before a look-up is given up."""

SILENT_PEER_TIMEOUT_MILLISECONDS: Final = 10_000
"""How long unacknowledged bytes to PostgreSQL may be outstanding before the connection is dead."""

CONNECTION_AGE_MAX_SECONDS: Final = 30
"""An older connection is replaced before its next use: so long at most goes a worker on with an old
primary that does not know that it is one. Twelve new connections in that time cost nothing."""

GIVE_UP_SECONDS: Final = 5.0
"""How much longer an answer is waited for here: a server that still lives says so itself, and ends
what would go on holding its locks."""

_OPTION: Final = re.compile(r"(?:-c\s*|--)([A-Za-z_][A-Za-z0-9_.-]*)\s*=")

Answer = TypeVar("Answer")


def postgresql_engine(
    url: PostgresqlUrl,
    *,
    lock_milliseconds: int,
    answer_seconds: float | None,
    pool: Mapping[str, Any],
) -> Engine:
    """Return an engine; it connects to nothing yet.

    Args:
        url: See there.
        lock_milliseconds: How long a statement waits for another transaction.
        answer_seconds: See ``create_engine_for``.
        pool: Options of the engine's pool.
    """
    engine = create_engine(
        # Nothing secret: this URL is what errors and logs show.
        URL.create("postgresql+psycopg", host=url.hosts or None, database=url.database),
        connect_args=connect_arguments(url),
        pool_recycle=CONNECTION_AGE_MAX_SECONDS,
        **pool,
    )
    if answer_seconds is not None:
        bound_answers(engine, answer_seconds + GIVE_UP_SECONDS)
    settings = transaction_settings(url, lock_milliseconds, answer_seconds)
    OneServer(settings, url.address).watch(engine)
    return engine


def connect_arguments(url: PostgresqlUrl) -> dict[str, object]:
    """Return what is said at each connect; a URL may say it otherwise."""
    ours: dict[str, object] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "tcp_user_timeout": SILENT_PEER_TIMEOUT_MILLISECONDS,
        "application_name": "enforcement-gateway",
        "prepare_threshold": None,
    }
    if url.has_several_hosts:
        ours["connect_timeout"] = CONNECT_TIMEOUT_OF_SEVERAL_SECONDS
        ours["target_session_attrs"] = "read-write"
    return {**ours, **url.keywords}


def transaction_settings(
    url: PostgresqlUrl, lock_milliseconds: int, answer_seconds: float | None
) -> dict[str, str]:
    """Return what each transaction sets; what the URL's ``options`` set stands."""
    ours = {"lock_timeout": str(lock_milliseconds), "timezone": "UTC"}
    if answer_seconds is not None:
        ours["statement_timeout"] = str(round(answer_seconds * 1000))
    theirs = _OPTION.findall(url.keywords.get("options", ""))
    named = {name.replace("-", "_").lower() for name in theirs}
    return {name: value for name, value in ours.items() if name not in named}


class BoundedConnection(Connection[Any]):
    """A connection that is closed once an answer takes longer than ``answer_seconds``."""

    answer_seconds: float = inf

    def wait(self, gen: PQGen[Answer], *how: Any, **named: Any) -> Answer:  # noqa: ANN401 - theirs
        """See psycopg, which wakes ``gen`` ten times a second."""
        return super().wait(self._until_given_up(gen), *how, **named)

    def _until_given_up(self, gen: PQGen[Answer]) -> PQGen[Answer]:
        end_seconds = monotonic() + self.answer_seconds
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and monotonic() >= end_seconds:
                    # Closed, it counts as broken: its pool makes new ones instead of all its old.
                    self.close()
                    raise OperationalError(f"no answer within {self.answer_seconds:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: Answer = end.value
            return answer


def bound_answers(engine: Engine, answer_seconds: float) -> None:
    """Have an engine's connections given up that do not answer in time."""
    last = ("", "")

    def connect(
        _dialect: object, _entry: object, _arguments: object, names: dict[str, Any]
    ) -> BoundedConnection:
        nonlocal last
        made = BoundedConnection.connect(**beginning_with(last, names))
        made.answer_seconds = answer_seconds
        last = made.info.host, str(made.info.port)
        return made

    event.listen(engine, "do_connect", connect)


def beginning_with(last: tuple[str, str], names: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a connect, with that of several hosts first which was the last.

    Otherwise each new connection would wait for one that is gone without a trace.
    """
    hosts = str(names.get("host", "")).split(",")
    ports = str(names.get("port", "")).split(",")
    if len(ports) < len(hosts):
        ports = [ports[0] or DEFAULT_PORT] * len(hosts)
    places = list(zip(hosts, ports, strict=False))
    if last not in places[1:] or "hostaddr" in names:
        return names
    ordered = [last, *(place for place in places if place != last)]
    host, port = (",".join(part) for part in zip(*ordered, strict=True))
    return {**names, "host": host, "port": port}
