"""Loads a gateway with requests that differ, and reads what each cost it."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from bench import cpu, wrk
from bench.growth.gateways import Started
from bench.growth.point import Begun, Figures, Surroundings

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 64
WARM_UP_SECONDS = 2


def write_lines(path: Path, requests: Iterable[tuple[str, str]]) -> Path:
    """Write pairs of path and key for the load script."""
    with path.open("w") as file:
        file.writelines(f"{target} {key}\n" for target, key in requests)
    return path


def run(port: int, lines: Path, seconds: int, *, in_order: bool = False) -> wrk.Load:
    """Run wrk with requests of a file.

    Raises:
        RuntimeError: wrk is missing or failed, or a request did.
    """
    program = shutil.which("wrk")
    if program is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk, or brew install wrk")
    command = [program, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(SCRIPT)]
    command += [f"http://127.0.0.1:{port}/", "--", str(lines)]
    command += ["in-order"] if in_order else []
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds + 60
    )
    if done.returncode != 0:
        raise RuntimeError(f"wrk: {done.stderr or done.stdout}")
    load = wrk.parse(done.stdout)
    if load.failed:
        raise RuntimeError(
            f"{load.failed} of {load.requests} requests failed: nothing was measured"
        )
    return load


def begin(
    started: Started,
    lines: Path,
    around: Surroundings,
    *,
    warm_up_seconds: int = WARM_UP_SECONDS,
    also: Figures | None = None,
) -> Begun:
    """Warm a gateway up; return how CPU time per request, its own and Redis', is measured.

    Measured from idle to idle: shipping to the ledger is part of it.
    """
    running = started.running
    pids = {name: process.pid for name, process in running.processes.items()}
    loads: list[wrk.Load] = []
    run(running.port, lines, warm_up_seconds, in_order=True)
    cpu.wait_until_idle(pids["gateway"])

    def measure() -> Figures:
        before = {name: cpu.cpu_seconds(pid) for name, pid in pids.items()}
        load = run(running.port, lines, around.seconds)
        cpu.wait_until_idle(pids["gateway"])
        loads.append(load)
        return {
            name: (cpu.cpu_seconds(pid) - before[name]) / load.requests * 1e6
            for name, pid in pids.items()
        }

    def tell() -> Figures:
        return {
            "requests_per_second": median(load.requests_per_second for load in loads),
            "p99_ms": median(load.p99_seconds for load in loads) * 1000,
            "memory_mb": cpu.resident_bytes(pids["gateway"]) / 1024**2,
            "start_seconds": started.start_seconds,
            **(also or {}),
        }

    return Begun(measure, tell)
