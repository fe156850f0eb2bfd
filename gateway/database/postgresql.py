"""What a connection to PostgreSQL does beyond SQLAlchemy's: no answer without end, no loss.

A server that fails says so. One that hangs (a frozen disk, a stopped machine whose kernel still
acknowledges) says nothing, and neither libpq nor psycopg knows a deadline for an answer.

Where a server, database or role says ``synchronous_commit=off``, a commit is told before it is on
the disk: a ledger that crashes forgets what the journal has dropped, a key database revocations.

Apart from ``engine`` because psycopg is loaded only where there is such a database.
Source: design section 13.
"""

from math import inf
from time import monotonic
from typing import Any, Final, TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import PQGen
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

_COMMIT_DURABLY: Final = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)
"""Any other value waits for one disk at least; which ones is the operator's choice."""

Answer = TypeVar("Answer")


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


def commit_durably(engine: Engine) -> None:
    """Have an engine's connections wait for the disk at each commit."""

    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(_COMMIT_DURABLY)
        cursor.close()
        connection.commit()

    event.listen(engine, "connect", prepare)


def bound_answers(engine: Engine, answer_seconds: float) -> None:
    """Have an engine's connections given up that do not answer in time."""

    def connect(
        _dialect: object, _entry: object, _arguments: object, names: dict[str, Any]
    ) -> BoundedConnection:
        made = BoundedConnection.connect(**names)
        made.answer_seconds = answer_seconds
        return made

    event.listen(engine, "do_connect", connect)
