"""Bring a database to the schema of this release, or say how far it is from it.

Source: design sections 8 and 12.
"""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from gateway.database.engine import reading, writing
from gateway.errors import GatewayError

_FOLDER: Final = Path(__file__).parent / "migrations"

_LOCK_NUMBER: Final = 0x6567_775F_6D69_6772
"""PostgreSQL advisory lock of migrations: "egw_migr" in ASCII."""

_CODE: Final = "database.unavailable"

_ALEMBIC_IS_GLOBAL: Final = Lock()
"""Alembic keeps the migration in progress in module variables: one at a time in a process."""


@dataclass(frozen=True, slots=True)
class RevisionStatus:
    """Where a database stands: ``current`` is None if it was never migrated."""

    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be migrated."""
        return self.current == self.head


def migrate(engine: Engine) -> RevisionStatus:
    """Bring the database to the newest revision, in one transaction under a lock.

    Processes that start together wait for each other; all but the first find nothing to do.

    Raises:
        GatewayError: ``database.unavailable``, or ``database.schema_newer`` if the database was
            migrated by a newer release.
    """
    return migrate_to(engine, "head")


def migrate_to(engine: Engine, revision: str) -> RevisionStatus:
    """Bring the database up or down to a revision; ``base`` empties it. For tests and operators."""
    config = _config()
    script = ScriptDirectory.from_config(config)
    with _ALEMBIC_IS_GLOBAL, writing(engine, GatewayError, _CODE) as connection:
        _take_lock(connection)
        current = _current(connection)
        _require_known(script, current)
        config.attributes["connection"] = connection
        if _is_above(script, current, revision):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
        return RevisionStatus(_current(connection), _head(script))


def revision_status(engine: Engine) -> RevisionStatus:
    """Return which revision a database has and which one this release needs.

    Raises:
        GatewayError: ``database.unavailable``.
    """
    with reading(engine, GatewayError, _CODE) as connection:
        return RevisionStatus(_current(connection), _head(ScriptDirectory.from_config(_config())))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _head(script: ScriptDirectory) -> str:
    head = script.get_current_head()
    assert head is not None, "migrations are part of the package"
    return head


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _take_lock(connection: Connection) -> None:
    """Wait for other migrating processes; SQLite did so when the transaction began."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})


def _known(script: ScriptDirectory) -> list[str]:
    """Return all revisions, newest first."""
    return [revision.revision for revision in script.walk_revisions()]


def _require_known(script: ScriptDirectory, current: str | None) -> None:
    if current is not None and current not in _known(script):
        raise GatewayError(
            "database.schema_newer",
            f"the database has schema revision {current}, which this release does not know",
            "start the release that migrated it, or a newer one",
        )


def _is_above(script: ScriptDirectory, current: str | None, wanted: str) -> bool:
    if wanted == "head" or current is None:
        return False
    order = _known(script)
    return wanted == "base" or order.index(current) < order.index(wanted)
