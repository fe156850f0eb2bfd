"""Runs wrk and reads what it prints."""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Only done() is called from it, once: the requests themselves stay wrk's own, unless each is new.
_SCRIPT = """
{request}
done = function(summary, latency, requests)
  io.write(string.format("p99.9 %d us\\n%d bytes\\n", latency:percentile(99.9), summary.bytes))
end
"""
_COUNTED = "X-Attempt"
_ANEW = """
local before, behind, attempt = nil, nil, 0
init = function(args)
  local whole = wrk.format()
  local _, at = whole:find("{field}: ", 1, true)
  before, behind = whole:sub(1, at), whole:sub(at + 2)
end
request = function()
  attempt = attempt + 1
  return before .. attempt .. behind
end
"""
_UNIT_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a load generator saw.

    Attributes:
        failed: Socket errors and answers other than those that were to come.
        read_bytes: Answers, heads included.
        own_cpu_seconds: What the generator itself used, where it tells.
    """

    requests: int
    requests_per_second: float
    p50_seconds: float
    p99_seconds: float
    failed: int
    p999_seconds: float = 0.0
    read_bytes: int = 0
    own_cpu_seconds: float = 0.0


def run(
    port: int,
    path: str,
    headers: dict[str, str],
    *,
    connections: int,
    seconds: int,
    is_refused: bool = False,
    method: str = "GET",
    body: bytes = b"",
    is_new_each_time: bool = False,
) -> Load:
    """Load a server on this machine, one wrk thread, as many connections as given.

    Args:
        is_refused: Answers must not be 2xx or 3xx: those count as failed then.
        is_new_each_time: A field of each request counts up.

    Raises:
        RuntimeError: wrk is not installed or failed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk, or brew install wrk")
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["--timeout", "30s"]
    if is_new_each_time:
        headers = headers | {_COUNTED: "0"}
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    with tempfile.TemporaryDirectory(prefix="wrk-") as folder:
        command += ["-s", str(_write_script(Path(folder), method, body, is_new_each_time))]
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


def _write_script(folder: Path, method: str, body: bytes, is_new_each_time: bool) -> Path:  # noqa: FBT001
    """Write what the command line has no options for; the body stands in a file beside it."""
    (folder / "body").write_bytes(body)
    opened = f"io.open({json.dumps(str(folder / 'body'))}, 'rb')"
    request = f"wrk.method = {json.dumps(method)}\n"
    request += f"wrk.body = {opened}:read('*a')\n" if body else ""
    request += _ANEW.format(field=_COUNTED) if is_new_each_time else ""
    script = folder / "wrk.lua"
    script.write_text(_SCRIPT.format(request=request))
    return script


def parse(printed: str, *, is_refused: bool = False) -> Load:
    """Return what wrk's report says.

    Raises:
        ValueError: the text is not a report of ``wrk --latency``.
    """
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed
    )
    highest = re.search(r"\np99\.9 (\d+) us", printed)
    read = re.search(r"\n(\d+) bytes", printed)
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
        p999_seconds=int(highest.group(1)) / 1e6 if highest else 0.0,
        read_bytes=int(read.group(1)) if read else 0,
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
