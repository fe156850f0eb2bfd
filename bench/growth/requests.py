"""Curves of what a request costs: by keys, routes, policies and idle connections."""

import resource
import socket
import time

from bench import cpu
from bench.growth import load
from bench.growth.gateways import Setup, Started, path_of, secret_of, start
from bench.growth.point import Begun, Curve, Surroundings

KEYS_IN_USE = 1_000
IDLE_SECONDS = 5.0
FIRST_LOOKUPS_PER_SECOND = 2_000
"""What a warm-up reckons with: each key is looked up once before anything is measured."""
WARM_UP_SECONDS_MAX = 100
UNIT = "CPU us per request"


def _start(setup: Setup, around: Surroundings) -> Started:
    started = start(setup, around.folder / "gateway", around.upstream_port)
    around.stack.callback(started.running.stop)
    return started


def keys(size: int, around: Surroundings) -> Begun:
    """So many keys exist; at most a thousand of them, spread over all, are in use."""
    return _with_keys(size, around, min(size, KEYS_IN_USE))


def keys_in_use(size: int, around: Surroundings) -> Begun:
    """So many keys exist, and all are used evenly: the worst that can happen to a cache."""
    return _with_keys(size, around, size)


def _with_keys(size: int, around: Surroundings, used: int) -> Begun:
    started = _start(Setup(keys=size), around)
    step = size // used
    requests = ((path_of(0), secret_of(number * step)) for number in range(used))
    lines = load.write_lines(around.folder / "lines", requests)
    warm_up = min(load.WARM_UP_SECONDS + used // FIRST_LOOKUPS_PER_SECOND, WARM_UP_SECONDS_MAX)
    return load.begin(started, lines, around, warm_up_seconds=warm_up)


def routes(size: int, around: Surroundings) -> Begun:
    """So many routes, all asked for evenly; half of them have a parameter."""
    started = _start(Setup(routes=size), around)
    requests = ((path_of(number), secret_of(0)) for number in range(size))
    lines = load.write_lines(around.folder / "lines", requests)
    return load.begin(started, lines, around)


def policies(size: int, around: Surroundings) -> Begun:
    """So many limits on each request."""
    started = _start(Setup(policies=size), around)
    lines = load.write_lines(around.folder / "lines", [(path_of(0), secret_of(0))])
    return load.begin(started, lines, around)


def idle_connections(size: int, around: Surroundings) -> Begun:
    """So many clients are connected and say nothing, while 64 others are busy."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    started = _start(Setup(), around)
    pid = started.running.processes["gateway"].pid
    memory_before = cpu.resident_bytes(pid)
    address = ("127.0.0.1", started.running.port)
    for _ in range(size):
        idle = socket.create_connection(address, timeout=10)
        around.stack.callback(idle.close)
    cpu.wait_until_idle(pid)
    memory = cpu.resident_bytes(pid) - memory_before
    before = cpu.cpu_seconds(pid)
    time.sleep(IDLE_SECONDS)
    idle_share = (cpu.cpu_seconds(pid) - before) / IDLE_SECONDS
    lines = load.write_lines(around.folder / "lines", [(path_of(0), secret_of(0))])
    also = {"kb_per_connection": memory / size / 1024, "idle_core_percent": idle_share * 100}
    return load.begin(started, lines, around, also=also)


CURVES = {
    "keys": Curve(
        "Keys that exist, 1,000 in use", "keys", UNIT, (10, 1_000, 100_000, 1_000_000), keys
    ),
    "keys-in-use": Curve(
        "Keys in use, evenly", "keys", UNIT, (10, 1_000, 10_000, 100_000), keys_in_use
    ),
    "routes": Curve("Routes", "routes", UNIT, (10, 100, 1_000, 5_000), routes),
    "policies": Curve("Limits on a request", "limits", UNIT, (1, 2, 4, 8), policies),
    "idle": Curve(
        "Idle connections beside 64 busy ones",
        "connections", UNIT, (1, 100, 1_000, 10_000), idle_connections,
    ),
}  # fmt: skip
