"""Runs wrk and reads what it prints."""

import re
import shutil
import subprocess
from dataclasses import dataclass

_UNIT_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw.

    Attributes:
        failed: Socket errors and answers other than those that were to come.
    """

    requests: int
    requests_per_second: float
    p50_seconds: float
    p99_seconds: float
    failed: int


def run(
    port: int,
    path: str,
    headers: dict[str, str],
    *,
    connections: int,
    seconds: int,
    is_refused: bool = False,
) -> Load:
    """Load a server on this machine, one wrk thread, as many connections as given.

    Args:
        is_refused: Answers must not be 2xx or 3xx: those count as failed then.

    Raises:
        RuntimeError: wrk is not installed or failed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk, or brew install wrk")
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 30,
    )
    if done.returncode != 0:
        raise RuntimeError(f"wrk: {done.stderr or done.stdout}")
    return parse(done.stdout, is_refused=is_refused)


def parse(printed: str, *, is_refused: bool = False) -> Load:
    """Return what wrk's report says.

    Raises:
        ValueError: the text is not a report of ``wrk --latency``.
    """
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed
    )
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    refused = int(other.group(1)) if other else 0
    requests = int(_found(r"(\d+) requests in ", printed))
    return Load(
        requests=requests,
        requests_per_second=float(_found(r"Requests/sec:\s+([\d.]+)", printed)),
        p50_seconds=_seconds(_found(r"\n\s+50%\s+(\S+)", printed)),
        p99_seconds=_seconds(_found(r"\n\s+99%\s+(\S+)", printed)),
        failed=sum(int(count) for count in (errors.groups() if errors else ()))
        + (requests - refused if is_refused else refused),
    )


def _found(pattern: str, printed: str) -> str:
    match = re.search(pattern, printed)
    if match is None:
        raise ValueError(f"not a report of wrk --latency: {printed!r}")
    return match.group(1)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if match is None:
        raise ValueError(f"not a duration: {text!r}")
    return float(match.group(1)) * _UNIT_SECONDS[match.group(2)]
