"""Where counters are kept: Redis over TCP, over a Unix socket, or the process itself."""

from bench.scenarios.port import DECISIONS, Scenario

SCENARIO = Scenario(
    "stores",
    "the passed request, with counters in Redis over TCP, over a Unix socket, and in memory",
    peers=("gateway", "gateway-unix", "gateway-memory"),
    group=DECISIONS,
)
