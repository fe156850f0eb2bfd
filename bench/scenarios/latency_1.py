"""How long a caller waits, at a constant rate over one connection."""

from bench.scenarios.port import WHOLE_JOB, Scenario

SCENARIO = Scenario(
    "latency-1",
    "the passed request at 500 a second over one connection",
    peers=("direct", "nginx", "envoy", *WHOLE_JOB),
    connections=1,
    rate=500.0,
    seconds_max=2,
)
