"""A real PgBouncer in front of a PostgreSQL of a test, on a free port; nothing is kept.

Debian's package brings it (tools/ensure_services.sh installs it); without it a test that needs it
is skipped by name. It refuses to run as root, like PostgreSQL.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.gateway_process import free_port
from tests.support.postgres_server import PASSWORD, USER, PostgresServer, account_for_servers

START_SECONDS = 10


@dataclass(frozen=True)
class PgBouncer:
    """A running pooler; ``server`` is the PostgreSQL behind it."""

    server: PostgresServer
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one of the server's databases through the pooler."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def lead_to(self, server: PostgresServer) -> None:
        """Have what begins from now on sent to another server; clients stay connected."""
        file = self.folder / "pgbouncer.ini"
        file.write_text(file.read_text().replace(_place(self.server), _place(server)))
        self.process.send_signal(signal.SIGHUP)


def pgbouncer_program() -> str:
    """Return the program; skip the test where there is none."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("pgbouncer", path=places)
    if found is None:
        pytest.skip("pgbouncer is not installed")
    return found


@contextmanager
def running_pgbouncer(
    server: PostgresServer, *, pool_mode: str = "transaction", **settings: object
) -> Iterator[PgBouncer]:
    """Start a pooler and stop it at the end, with its files removed.

    Args:
        server: What is behind it, over its Unix socket.
        pool_mode: ``transaction``, ``session`` or ``statement``.
        settings: More of them, of the section ``[pgbouncer]``.
    """
    program = pgbouncer_program()
    account = account_for_servers()
    folder = Path(tempfile.mkdtemp(prefix="pgb-", dir="/tmp"))
    port = free_port()
    chosen = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "plain",
        "auth_file": folder / "users.txt",
        "pool_mode": pool_mode,
        "default_pool_size": 2,
        "query_wait_timeout": 10,
        "logfile": folder / "log",
        **settings,
    }
    _write(folder, server, chosen)
    identity: dict[str, object] = {}
    if account is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    process = subprocess.Popen(  # type: ignore[call-overload]  # a dict of mixed values
        [program, "-q", str(folder / "pgbouncer.ini")], cwd="/", **identity
    )
    pooler = PgBouncer(server, port, folder, process)
    try:
        _wait_until_ready(pooler, process)
        yield pooler
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, server: PostgresServer, settings: Mapping[str, object]) -> None:
    lines = [
        "[databases]",
        f"* = {_place(server)}",
        "[pgbouncer]",
        *(f"{name} = {value}" for name, value in settings.items()),
    ]
    (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
    (folder / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')


def _place(server: PostgresServer) -> str:
    return f"host={server.folder} port={server.port or 5432} user={USER} password={PASSWORD}"


def _wait_until_ready(pooler: PgBouncer, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise RuntimeError((pooler.folder / "log").read_text(errors="replace"))
        with suppress(psycopg.OperationalError):
            # autocommit: a pooler by statement knows no transactions
            psycopg.connect(pooler.url(), autocommit=True, prepare_threshold=None).close()
            return
        time.sleep(0.05)
    raise RuntimeError("PgBouncer did not answer in time")
