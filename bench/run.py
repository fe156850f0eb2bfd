"""``make bench``: the gateway beside what one would take instead, on this machine, in rounds.

What is compared is CPU time per unit of work, the peer's process alone: it hardly depends on how
many cores the load generator leaves over. Latency is measured apart, at a constant rate.
"""

import argparse
import importlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import cpu, outcome, ports, report
from bench.measure import Effort, measure
from bench.peers.envoy import Envoy
from bench.peers.gateway import Gateway, GatewayMemory, GatewayUnix
from bench.peers.haproxy import Haproxy
from bench.peers.litellm import Litellm
from bench.peers.nginx import Direct, Proxy, Upstream
from bench.peers.nginx_lua import NginxLua
from bench.peers.plain_aiohttp import PlainAiohttp
from bench.peers.port import Peer, Running, Unavailable
from bench.scenarios.port import Scenario

NOT_SCENARIOS = {"__init__", "port"}
PEERS: dict[str, type[Peer]] = {
    each.name: each
    for each in (
        Direct,
        Proxy,
        Haproxy,
        Envoy,
        NginxLua,
        PlainAiohttp,
        Litellm,
        Gateway,
        GatewayUnix,
        GatewayMemory,
    )
}
ROUNDS, SECONDS, CONNECTIONS = 5, 3, 64


@dataclass(slots=True)
class Bench:
    """Everything that runs, and why something does not."""

    folder: Path
    upstream_port: int
    stack: ExitStack
    running: dict[str, Running] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def have(self, name: str) -> Running | None:
        """Return a peer, started if need be; None if it can't be had, which is said once."""
        if name in self.missing:
            return None
        if name not in self.running:
            try:
                peer = PEERS[name]().start(self.folder / name, self.upstream_port)
            except Unavailable as reason:
                self._miss(name, f"not available: {reason}")
                return None
            except (RuntimeError, OSError, subprocess.SubprocessError) as failure:
                self._miss(name, f"does not start: {failure}")
                return None
            self.stack.callback(peer.stop)
            self.running[name] = peer
            self.versions[name] = peer.version
        return self.running[name]

    def _miss(self, name: str, why: str) -> None:
        self.missing[name] = why
        sys.stderr.write(f"without {name}: {why}\n")

    def stop(self, names: set[str]) -> None:
        """Stop peers that are asked no more."""
        for name in names & set(self.running):
            self.running.pop(name).stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Start what is asked for, measure round by round, write results; 1 if something failed."""
    options = _options(arguments)
    if not cpu.PROC.joinpath("self/stat").exists():
        sys.stderr.write("bench reads CPU times from /proc: it needs Linux\n")
        return 3
    # What was started is stopped, however the bench ends.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    groups = _groups(_scenarios(options.scenarios))
    found = outcome.Outcome(
        effort=Effort(options.seconds, options.connections), rounds=options.rounds
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        upstream_port = ports.free_port()
        upstream = Upstream().start(folder / "upstream", upstream_port)
        stack.callback(upstream.stop)
        bench = Bench(folder, upstream_port, stack)
        for number, group in enumerate(groups):
            samples = _rounds(bench, group, options.peers, found)
            for scenario in group:
                found.add(scenario, samples[scenario.name], bench.versions)
            later = {
                name for after in groups[number + 1 :] for each in after for name in each.peers
            }
            bench.stop(set(bench.running) - later)
        found.missing |= bench.missing
    into = options.into or (outcome.COMMITTED if _is_whole(options) else outcome.SCRATCH)
    print(found.write(into))
    if into == outcome.COMMITTED:
        found.write_page()
    print(f"\nwritten: {into}/{outcome.NAME}.json, .md and plots")
    return 1 if found.failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [scenario.name for scenario in _scenarios([])]
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__)
    parser.add_argument("--peers", nargs="+", choices=[*PEERS], default=[*PEERS], metavar="PEER")
    parser.add_argument("--scenarios", nargs="+", choices=names, default=names, metavar="SCENARIO")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="per peer, alternating")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="measured, per round at most")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--into", type=Path, help="a folder for the results")
    return parser.parse_args(arguments)


def _is_whole(options: argparse.Namespace) -> bool:
    """Whether this is the run whose results are kept with the sources."""
    asked = (options.rounds, options.seconds, options.connections)
    return (
        asked >= (ROUNDS, SECONDS, CONNECTIONS)
        and options.peers == [*PEERS]
        and len(options.scenarios) == len(_scenarios([]))
    )


def _scenarios(names: Sequence[str]) -> list[Scenario]:
    """Return the scenarios of these names, all if none is given; the whole job comes first."""
    folder = Path(__file__).parent / "scenarios"
    files = sorted(path.stem for path in folder.glob("*.py") if path.stem not in NOT_SCENARIOS)
    found = [importlib.import_module(f"bench.scenarios.{name}").SCENARIO for name in files]
    found.sort(key=lambda scenario: scenario.name != "passed")
    return [scenario for scenario in found if not names or scenario.name in names]


def _groups(scenarios: Sequence[Scenario]) -> list[list[Scenario]]:
    """Return what is measured in the same rounds; a group stands where its first scenario did."""
    groups: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        groups.setdefault(scenario.together, []).append(scenario)
    return [*groups.values()]


def _rounds(
    bench: Bench, group: Sequence[Scenario], peers: Sequence[str], found: outcome.Outcome
) -> dict[str, dict[str, list[report.Sample]]]:
    """Measure the peers of all scenarios of a group once a round; return samples by both names.

    The nth samples are of the same round, whatever their scenario and peer.
    """
    started = {
        scenario.name: {
            name: peer
            for name in PEERS
            if name in scenario.peers and name in peers and (peer := bench.have(name))
        }
        for scenario in group
    }
    samples: dict[str, dict[str, list[report.Sample]]] = {
        scenario: {name: [] for name in having} for scenario, having in started.items()
    }
    for number in range(found.rounds):
        for scenario in group:
            _round(number, scenario, started[scenario.name], samples[scenario.name], found)
    return samples


def _round(
    number: int,
    scenario: Scenario,
    started: Mapping[str, Running],
    samples: dict[str, list[report.Sample]],
    found: outcome.Outcome,
) -> None:
    """Add a sample of every peer that is still in ``samples``; each round begins with another one.

    A peer that fails is left out of the scenario with all its samples, and why is kept.
    """
    common = {field: text for peer in started.values() for field, text in peer.headers.items()}
    order = [*samples]
    first = number % max(1, len(order))
    for name in order[first:] + order[:first]:
        peer = started[name]
        headers = common | peer.headers | peer.callers.get(scenario.caller, {})
        try:
            sample = measure(peer, scenario, headers, found.effort)
            if sample.load.failed or not sample.load.requests:
                raise RuntimeError(  # noqa: TRY301
                    f"{sample.load.failed} of {sample.load.requests} requests failed"
                )
        except (RuntimeError, OSError, subprocess.SubprocessError) as failure:
            sys.stderr.write(f"{scenario.name} {name}: {failure}\n")
            found.failed[f"{scenario.name} {name}"] = str(failure)
            del samples[name]
            continue
        samples[name].append(sample)
        sys.stderr.write(
            f"{scenario.name} {number + 1}/{found.rounds} {name}: {sample.own_micros:.1f} "
            f"us/{scenario.unit}, p50 {sample.load.p50_seconds * 1000:.2f} ms\n"
        )


if __name__ == "__main__":
    sys.exit(main())
