"""``make bench``: the gateway beside nginx and Envoy, on this machine, in alternating rounds.

What is compared is CPU time per request, the peer's process alone: it hardly depends on how many
cores the load generator leaves over. Requests per second are told too, as seen at saturation.
"""

import argparse
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import cpu, ports, report, wrk
from bench.peers.envoy import Envoy
from bench.peers.gateway import Gateway
from bench.peers.haproxy import Haproxy
from bench.peers.nginx import Proxy, Upstream
from bench.peers.nginx_lua import NginxLua
from bench.peers.plain_aiohttp import PlainAiohttp
from bench.peers.port import Peer, Running, Unavailable
from bench.scenarios.port import Scenario

USUAL = "passed"
NO_SCENARIOS = {"__init__", "port"}
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
PEERS: dict[str, type[Peer]] = {
    "nginx": Proxy,
    "haproxy": Haproxy,
    "envoy": Envoy,
    "nginx-lua": NginxLua,
    "aiohttp": PlainAiohttp,
    "gateway": Gateway,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Start everything, measure round by round, print the table, write the JSON file."""
    options = _options(arguments)
    if not cpu.PROC.joinpath("self/stat").exists():
        sys.stderr.write("bench reads CPU times from /proc: it needs Linux\n")
        return 3
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        upstream_port = ports.free_port()
        upstream = Upstream().start(folder / "upstream", upstream_port)
        stack.callback(upstream.stop)
        running = _start(options.peers, folder, upstream_port, stack)
        samples: dict[str, list[report.Sample]] = {}
        for scenario in _scenarios(options.scenarios):
            samples |= _rounds(running, scenario, options)
    lines = [report.summarise(peer, taken) for peer, taken in samples.items()]
    path = options.json or RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    versions = {name: peer.version for name, peer in running.items()}
    report.write(path, about=_about(options, versions), lines=lines, samples=samples)
    print(report.table(lines))
    print(f"\nraw figures: {path}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__)
    parser.add_argument("--peers", nargs="+", choices=[*PEERS], default=[*PEERS])
    parser.add_argument("--scenarios", nargs="+", default=[], help="files of bench/scenarios")
    parser.add_argument("--rounds", type=int, default=5, help="per peer, alternating")
    parser.add_argument("--seconds", type=int, default=5, help="measured, per round")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", type=Path, help="where to write the raw figures")
    return parser.parse_args(arguments)


def _start(
    names: Sequence[str], folder: Path, upstream_port: int, stack: ExitStack
) -> dict[str, Running]:
    """Start the peers that can be had here and see that each of them answers."""
    running = {}
    for name in names:
        try:
            peer = PEERS[name]().start(folder / name, upstream_port)
        except Unavailable as reason:
            sys.stderr.write(f"without {name}: {reason}\n")
            continue
        stack.callback(peer.stop)
        status, body = ports.status_of(peer.port, "/v1/status", peer.headers)
        if status != 200:
            raise RuntimeError(f"{name} answers {status}: {body[:500]!r}")
        running[name] = peer
    return running


def _scenarios(names: Sequence[str]) -> list[Scenario]:
    """Return the scenarios of the given files, of all files if none is given."""
    folder = Path(__file__).parent / "scenarios"
    files = sorted(path.stem for path in folder.glob("*.py") if path.stem not in NO_SCENARIOS)
    return [
        importlib.import_module(f"bench.scenarios.{name}").SCENARIO
        for name in files
        if not names or name in names
    ]


def _rounds(
    running: dict[str, Running], scenario: Scenario, options: argparse.Namespace
) -> dict[str, list[report.Sample]]:
    """Measure every peer once a round; each round begins with another one."""
    common = {name: text for peer in running.values() for name, text in peer.headers.items()}
    names = [name for name in running if not scenario.peers or name in scenario.peers]
    samples: dict[str, list[report.Sample]] = {_title(name, scenario): [] for name in names}
    for number in range(options.rounds):
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            peer = running[name]
            headers = common | peer.headers | peer.callers.get(scenario.caller, {})
            sample = _measure(peer, scenario, headers, options)
            samples[_title(name, scenario)].append(sample)
            sys.stderr.write(
                f"{scenario.name} {number + 1}/{options.rounds} {name}: "
                f"{sample.micros_per_request(next(iter(sample.cpu_seconds))):.1f} us/request, "
                f"{sample.load.requests_per_second:,.0f}/s\n"
            )
    return samples


def _title(peer: str, scenario: Scenario) -> str:
    return peer if scenario.name == USUAL else f"{peer} {scenario.name}"


def _measure(
    peer: Running, scenario: Scenario, headers: dict[str, str], options: argparse.Namespace
) -> report.Sample:
    """Warm up for a second, then measure from idle to idle: records shipped afterwards count."""
    is_refused = scenario.status >= 400

    def load_for(seconds: int) -> wrk.Load:
        return wrk.run(
            peer.port,
            scenario.path,
            headers,
            connections=options.connections,
            seconds=seconds,
            is_refused=is_refused,
        )

    load_for(1)
    pids = {name: process.pid for name, process in peer.processes.items()}
    itself = next(iter(pids))
    cpu.wait_until_idle(pids[itself])
    status, body = ports.status_of(peer.port, scenario.path, headers)
    if status != scenario.status:
        raise RuntimeError(f"{scenario.name} is answered {status}: {body[:500]!r}")
    before = {name: cpu.cpu_seconds(pid) for name, pid in pids.items()}
    own_before = cpu.cpu_seconds(pids[itself], descendants=False)
    load = load_for(options.seconds)
    resident = {name: cpu.resident_bytes(pid) for name, pid in pids.items()}
    cpu.wait_until_idle(pids[itself])
    used = {name: cpu.cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    if peer.children:
        own = cpu.cpu_seconds(pids[itself], descendants=False) - own_before
        used[peer.children] = used[itself] - own
        used[itself] = own
        resident[peer.children] = 0
    return report.Sample(load, used, resident)


def _about(options: argparse.Namespace, versions: dict[str, str]) -> dict[str, object]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit.stdout.strip(),
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "connections": options.connections,
        "seconds": options.seconds,
        "versions": versions,
    }


if __name__ == "__main__":
    sys.exit(main())
