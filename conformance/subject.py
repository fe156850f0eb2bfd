"""The gateway under test: a process of its own, made from a route file that is written here."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.outcome import BUILD, ROOT

READY_SECONDS: Final = 30.0
METHODS: Final = "GET, POST, PUT, PATCH, DELETE, OPTIONS, QUERY, PROPFIND, PURGE"

OPEN: Final = f"""\
upstreams:
  app:
    endpoints: ["http://127.0.0.1:{{upstream}}"]
    ejection: {{{{max_ejected_percent: 0}}}}
    timeouts: {{{{first_byte: 10s, total: none}}}}
  slow:
    endpoints: ["http://127.0.0.1:{{upstream}}"]
    ejection: {{{{max_ejected_percent: 0}}}}
    timeouts: {{{{first_byte: 1s, total: none}}}}
routes:
  - name: slow
    match: {{{{methods: [GET], path: "/slow/**"}}}}
    upstream: slow
    auth: none
  - name: open
    match: {{{{methods: [{METHODS}], path: "/**"}}}}
    upstream: app
    auth: none
"""
"""Open routes to one upstream, which is never left alone however it fails."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A running gateway.

    Attributes:
        port: Where clients call.
        admin_port: Where probes call.
        upstream_port: Where it expects its upstream.
        process: The gateway; it may have children.
        events: What it told on stderr.
    """

    port: int
    admin_port: int
    upstream_port: int
    process: subprocess.Popen[bytes]
    events: Path


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(
    name: str, *, upstream_port: int | None = None, routes: str = OPEN, top: str = ""
) -> Iterator[Subject]:
    """Start a gateway, wait until it is ready, and stop it at the end.

    Args:
        name: Of its folder in ``build/conformance``.
        upstream_port: Where its upstream listens; a free port without it.
        routes: YAML of upstreams and routes; ``{upstream}`` is the port.
        top: Further YAML, such as limits.
    """
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    port, admin_port, upstream = free_port(), free_port(), upstream_port or free_port()
    config = folder / "gateway.yaml"
    config.write_text(
        f"version: 1\npricing: {ROOT}/fixtures/pricing_ssot.json\n"
        f"data_dir: {folder}/data\nlisten: 127.0.0.1:{port}\nadmin_listen: 127.0.0.1:{admin_port}\n"
        f"access_log: {{sample: 0}}\n{top}\n" + routes.format(upstream=upstream)
    )
    events = folder / "events.log"
    with events.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--config", str(config)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=told,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
    try:
        _wait_until_ready(process, admin_port, events)
        yield Subject(port, admin_port, upstream, process, events)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], admin_port: int, events: Path) -> None:
    ends = time.monotonic() + READY_SECONDS
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/healthz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"the gateway did not start:\n{events.read_text()}")
