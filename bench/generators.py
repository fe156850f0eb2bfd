"""The two load generators behind one shape: warmed up when made, then run once."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench import wrk
from bench.scenarios.port import Scenario

ROOT = Path(__file__).parent.parent
WARM_UP_SECONDS = 1
PATIENCE_SECONDS = 60


class Generator(Protocol):
    """What loads a peer."""

    def run(self) -> wrk.Load:
        """Load it; return what was seen.

        Raises:
            RuntimeError: the generator failed.
        """
        ...


@dataclass(slots=True)
class Saturating:
    """wrk: asks anew as soon as an answer has come."""

    port: int
    scenario: Scenario
    headers: dict[str, str]
    connections: int
    seconds: int

    def __post_init__(self) -> None:
        self._load_for(WARM_UP_SECONDS)

    def run(self) -> wrk.Load:
        """Load it; return what was seen."""
        return self._load_for(self.seconds)

    def _load_for(self, seconds: int) -> wrk.Load:
        return wrk.run(
            self.port,
            self.scenario.path,
            self.headers,
            connections=self.connections,
            seconds=seconds,
            is_refused=self.scenario.status >= 400,
            method=self.scenario.method,
            body=self.scenario.body,
            is_new_each_time=self.scenario.is_new_each_time,
        )


@dataclass(slots=True)
class Paced:
    """The constant-rate generator, in a process of its own that is connected and warm."""

    port: int
    scenario: Scenario
    headers: dict[str, str]
    connections: int
    seconds: int
    _process: "subprocess.Popen[str]" = field(init=False)

    def __post_init__(self) -> None:
        """Start it.

        Raises:
            RuntimeError: it can't connect, or an answer was not one.
        """
        self._process = subprocess.Popen(
            self._command(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "warm\n":
            self._end()

    def run(self) -> wrk.Load:
        """Load it; return what was seen.

        Raises:
            RuntimeError: the generator failed, mostly because a connection was closed.
        """
        seen = json.loads(self._end())
        return wrk.Load(
            requests=seen["requests"],
            requests_per_second=seen["requests"] / self.seconds,
            p50_seconds=seen["p50_seconds"],
            p99_seconds=seen["p99_seconds"],
            p999_seconds=seen["p999_seconds"],
            failed=seen["failed"],
            read_bytes=seen["read_bytes"],
            own_cpu_seconds=seen["own_cpu_seconds"],
        )

    def _end(self) -> str:
        """Let it begin, wait for its end, return what it printed."""
        try:
            printed, complaint = self._process.communicate(
                "go\n", timeout=self.seconds + PATIENCE_SECONDS
            )
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise RuntimeError("bench.paced does not end") from None
        if self._process.returncode != 0:
            raise RuntimeError(f"bench.paced: {complaint.strip().splitlines()[-1:]}")
        return printed

    def _command(self) -> list[str]:
        scenario = self.scenario
        command = [sys.executable, "-m", "bench.paced", "--wait", "--port", str(self.port)]
        command += ["--path", scenario.path, "--method", scenario.method]
        command += ["--status", str(scenario.status), "--connections", str(self.connections)]
        command += ["--rate", str(scenario.rate), "--seconds", str(self.seconds)]
        command += ["--websocket"] if scenario.is_websocket else []
        for name, text in self.headers.items():
            command += ["--header", f"{name}: {text}"]
        return command
