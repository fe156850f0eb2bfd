"""One sample: a peer, loaded as a scenario says, and what that cost whom."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from bench import cpu, ports
from bench.generators import Generator, Paced, Saturating
from bench.peers.port import Running
from bench.report import Sample
from bench.scenarios.port import Scenario

SETTLE_SECONDS = 0.3
"""For peers that put off nothing, or a tenth of a second's records."""
CONTENT_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and over how many connections, where the scenario does not say."""

    seconds: int
    connections: int


@dataclass(slots=True)
class _Memory:
    resident: Mapping[str, int]
    proportional: Mapping[str, int]


def see_that_it_answers(peer: Running, scenario: Scenario, headers: Mapping[str, str]) -> None:
    """Ask once, as will be asked.

    Raises:
        RuntimeError: the answer is not the one that the scenario is about.
    """
    if scenario.is_websocket:
        return
    status, body = ports.status_of(
        peer.port, scenario.path, dict(headers), method=scenario.method, body=scenario.body
    )
    if status != scenario.status:
        raise RuntimeError(f"{scenario.name} is answered {status}: {body[:500]!r}")


def measure(peer: Running, scenario: Scenario, headers: dict[str, str], effort: Effort) -> Sample:
    """Warm up, then measure from idle to idle: records shipped after the load count.

    Raises:
        RuntimeError: the load generator failed, or the peer answers something else.
    """
    if scenario.body:
        headers = headers | {"Content-Type": CONTENT_TYPE}
    seconds = min(effort.seconds, scenario.seconds_max)
    connections = scenario.connections or effort.connections
    generator: Generator
    if scenario.rate:
        see_that_it_answers(peer, scenario, headers)
        generator = Paced(peer.port, scenario, headers, connections, seconds)
    else:
        generator = Saturating(peer.port, scenario, headers, connections, seconds)
        # After the warm-up: a limit may have to be used up first.
        see_that_it_answers(peer, scenario, headers)
    pids = {name: process.pid for name, process in peer.processes.items()}
    itself = next(iter(pids), None)
    cpu.pause(SETTLE_SECONDS)
    _await_children(peer, pids)
    before = _used(pids, itself, peer.children)
    threads_before = cpu.thread_seconds(pids[itself]) if itself else {}
    taken: list[_Memory] = []
    # In the middle: what is held during the load is asked for, not what is left after it.
    timer = threading.Timer(seconds / 2, lambda: taken.append(_memory(pids)))
    timer.start()
    load = generator.run()
    timer.join()
    cpu.pause(SETTLE_SECONDS)
    threads = cpu.thread_seconds(pids[itself]) if itself else {}
    soon = _used(pids, itself, peer.children)
    _await_children(peer, pids)
    after = _used(pids, itself, peer.children)
    if itself and scenario.rate:
        # At a low rate, idling until the shipper is done would be a good part of the whole.
        after[itself] = soon[itself]
    return Sample(
        load=load,
        cpu_seconds={name: spent - before[name] for name, spent in after.items()},
        resident_bytes=taken[0].resident,
        proportional_bytes=taken[0].proportional,
        thread_seconds={
            name: spent - threads_before.get(name, 0.0) for name, spent in threads.items()
        },
        units=load.read_bytes / scenario.unit_bytes if scenario.unit_bytes else load.requests,
    )


def _used(pids: Mapping[str, int], itself: str | None, children: str) -> dict[str, float]:
    """Return CPU seconds by process; the first one's children apart from it if they have a name."""
    used = {name: cpu.cpu_seconds(pid) for name, pid in pids.items()}
    if itself is None or not children:
        return used
    own = cpu.cpu_seconds(pids[itself], descendants=False)
    return {itself: own, children: used.pop(itself) - own} | used


def _memory(pids: Mapping[str, int]) -> _Memory:
    return _Memory(
        resident={name: cpu.resident_bytes(pid) for name, pid in pids.items()},
        proportional={name: cpu.proportional_bytes(pid) for name, pid in pids.items()},
    )


def _await_children(peer: Running, pids: Mapping[str, int]) -> None:
    """Wait until what a peer put off for its children is done."""
    for pid in list(pids.values())[:1] if peer.children else []:
        cpu.wait_until_idle(pid)
