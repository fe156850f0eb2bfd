"""A real gateway process on free ports: started, asked, killed, started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Self

import httpx

from gateway.config.settings import Loaded, load
from gateway.control.keys import KeyRequest, create_key
from gateway.control.workspaces import create_workspace
from gateway.keys.port import KeyRegistry
from gateway.process.clock import SystemClock
from gateway.process.wiring import open_ledger, open_registry
from gateway.rules.record import Record
from tests.support.answer_judge import judge
from tests.support.pricing_files import Document, write_pricing

ROOT = Path(__file__).parents[2]
READY_SECONDS = 20.0


def free_port(family: int = socket.AF_INET, host: str = "127.0.0.1") -> int:
    """Return a port that was free a moment ago."""
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(what: Callable[[], object], seconds: float = 10.0) -> Any:
    """Return the first true value of ``what``; fail if there is none in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("what was waited for did not happen")


def no_change(_document: Document) -> None:
    """Leave the pricing file as it is."""


class GatewayProcess:
    """One gateway with its folder.

    Args:
        folder: Configuration and data go here.
        upstream_port: Where the service behind it listens.
        counters: ``memory`` or a URL.
        change: Changes the pricing fixture.
        routes: YAML of the ``routes`` list; ``upstream: app`` exists.
        top: Further top-level YAML.
    """

    def __init__(
        self,
        folder: Path,
        upstream_port: int,
        *,
        counters: str = "memory",
        change: Callable[[Document], object] = no_change,
        routes: str = '- {name: all, match: {methods: [GET, POST], path: "/**"}, upstream: app}',
        top: str = "",
    ) -> None:
        self.folder = folder
        self.upstream_port = upstream_port
        self.port, self.admin_port = free_port(), free_port()
        self.config = folder / "gateway.yaml"
        self.pricing = folder / "pricing.json"

        def changed(document: Document) -> None:
            document["effective_from"] = "2020-01-01T00:00:00Z"
            change(document)

        write_pricing(self.pricing, changed)
        indented = "\n".join("  " + line for line in routes.splitlines())
        self.config.write_text(
            f"""\
version: 1
pricing: pricing.json
counters: {counters}
data_dir: {folder}/data
listen: 127.0.0.1:{self.port}
admin_listen: 127.0.0.1:{self.admin_port}
shipper: {{interval: 50ms}}
access_log: {{sample: 0}}
{top}
upstreams:
  app: {{endpoints: ["http://127.0.0.1:{upstream_port}"]}}
routes:
{indented}
"""
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients call."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """Where probes call."""
        return f"http://127.0.0.1:{self.admin_port}"

    def loaded(self) -> Loaded:
        """Return the configuration, read in this process."""
        return load(self.config, environ={}, overrides={})

    def registry(self) -> KeyRegistry:
        """Return what keys and workspaces are changed with."""
        return open_registry(self.loaded().settings)

    def make_key(self, plan: str, *, workspace: str = "acme", **request: Any) -> str:
        """Create the workspace if need be and a key for it; return the secret."""
        registry = self.registry()
        loaded = self.loaded()
        pricing = loaded.snapshot.pricings[-1]
        clock = SystemClock()
        if registry.workspace(workspace) is None:
            create_workspace(registry, pricing, clock, workspace_id=workspace, plan=plan)
        made = create_key(registry, pricing, clock, KeyRequest(workspace_id=workspace, **request))
        return made.secret

    def start(self, *, wait: bool = True, stdout: IO[bytes] | int = subprocess.DEVNULL) -> Self:
        """Start the process and wait until it is ready; ``stdout`` gets the access log."""
        with (self.folder / "events.log").open("ab") as events:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "--config", str(self.config)],
                cwd=ROOT,
                stdout=stdout,
                stderr=events,
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            )
        if wait:
            wait_until(self._is_ready, READY_SECONDS)
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"it stopped: {self.events()}")
        try:
            return httpx.get(f"{self.admin_url}/healthz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def events(self) -> str:
        """Return what it told on stderr so far."""
        return (self.folder / "events.log").read_text()

    def kill(self) -> None:
        """Kill it with no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def call(
        self, key: str | None, path: str = "/", *, method: str = "GET", **arguments: Any
    ) -> httpx.Response:
        """Return the answer to one request on a connection of its own, judged."""
        headers: Mapping[str, str] = arguments.pop("headers", {})
        if key is not None:
            headers = {**headers, "X-API-Key": key}
        answer = httpx.request(method, self.url + path, headers=headers, timeout=10, **arguments)
        judge(answer)
        return answer

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run another command on this gateway's configuration, as its operator does."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *words, "--config", str(self.config)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def records(self) -> list[Record]:
        """Return the ledger's events."""
        ledger = open_ledger(self.loaded().settings)
        try:
            return list(ledger.events(workspace_id=None, period=None, limit=100_000))
        finally:
            ledger.close()

    def wait_for_records(self, number: int) -> list[Record]:
        """Return the ledger's events once they stand for that many requests."""

        def enough() -> list[Record] | None:
            found = self.records()
            return found if sum(record.count for record in found) >= number else None

        found: list[Record] = wait_until(enough)
        return found

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        text = httpx.get(f"{self.admin_url}/metrics", timeout=5).text
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.partition("{")[0].partition(" ")[0] == name
        )


def body_of(response: httpx.Response) -> Any:
    """Return a JSON body."""
    return json.loads(response.content)
