"""An engine on an SQLite file: its pragmas, its locks, and who may read it.

A file that is made here is its owner's alone, whatever the umask and the folder: it holds usage and
hashes of keys. SQLite gives its companions (``-wal``, ``-shm``, ``-journal``) the file's mode. One
that everybody can read (earlier releases left that to the umask) is closed to all but its owner;
one that its group alone can read stays as it is: an operator chose that.
"""

import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.errors import GatewayError

READ_ONLY: Final = "gateway_read_only"
"""Execution option of a connection whose transactions only read."""

OWN: Final = 0o600
"""Mode of a file that its owner alone may read and write."""

_COMPANIONS: Final = ("-wal", "-shm", "-journal")

_log = structlog.get_logger("database")


def sqlite_engine(file: Path, *, lock_seconds: float, pool: Mapping[str, Any]) -> Engine:
    """Return an engine on a file, which is made if it is not there.

    Args:
        file: Its folder must be there.
        lock_seconds: How long a transaction waits for another process.
        pool: Options of the engine's pool.

    Raises:
        GatewayError: ``database.folder_missing`` or ``database.not_writable``.
    """
    try:
        _require_writable(file)
        make_private(file)
    except OSError as error:
        raise _not_writable(f"{file} can't be used: {error.strerror}") from error
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        connect_args={"timeout": lock_seconds},
        **pool,
    )
    pragmas = _pragmas(round(lock_seconds * 1000))

    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver must not begin transactions by itself: it would begin them deferred, and a
        # deferred transaction that turns into a writer fails at once when another one writes.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin)
    return engine


def make_private(file: Path) -> None:
    """Make a database file for its owner alone, or close one that everybody can read.

    Raises:
        OSError: it can't be made.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWN)
    except FileExistsError:
        for name in ("", *_COMPANIONS):
            with suppress(FileNotFoundError):
                _close_to_others(file.with_name(file.name + name))
    else:
        os.fchmod(descriptor, OWN)  # a umask may have taken more than it should
        os.close(descriptor)


def _close_to_others(file: Path) -> None:
    mode = stat.S_IMODE(file.stat().st_mode)
    if not mode & stat.S_IRWXO:
        return
    try:
        file.chmod(OWN)
    except PermissionError:
        _log.warning(
            "database.readable_by_all",
            file=str(file),
            mode=f"{mode:04o}",
            hint="it holds usage and hashes of keys, and is another user's: chmod 600",
        )


def _pragmas(lock_milliseconds: int) -> tuple[str, ...]:
    return (
        # First: the switch to WAL below waits for other processes instead of failing.
        f"PRAGMA busy_timeout={lock_milliseconds}",
        "PRAGMA journal_mode=WAL",
        "PRAGMA foreign_keys=ON",
        # FULL, not NORMAL: in WAL mode NORMAL may lose the last commits in a power failure, and the
        # shipper drops journal segments as soon as the ledger has said that it holds them.
        "PRAGMA synchronous=FULL",
        # Without it INSERT OR REPLACE would delete a row without asking the append-only triggers.
        "PRAGMA recursive_triggers=ON",
    )


def _begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


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
        raise _not_writable(f"{target} can't be written by user {os.geteuid()}")


def _not_writable(message: str) -> GatewayError:
    return GatewayError(
        "database.not_writable",
        message,
        "give the gateway's user write permission on the folder and the file",
    )


def _null(_value: None) -> None:
    """Adapt None to SQLite, where it needs no adapting.

    Without an adapter the driver looks for one in three places, for each None that it is given.
    """


sqlite3.register_adapter(type(None), _null)
