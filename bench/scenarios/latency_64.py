"""How long a caller waits, at a constant rate over 64 connections."""

from bench.scenarios.port import WHOLE_JOB, Scenario

SCENARIO = Scenario(
    "latency-64",
    "the passed request at 1,000 a second over 64 connections",
    peers=("direct", "nginx", "envoy", *WHOLE_JOB),
    connections=64,
    rate=1000.0,
    seconds_max=2,
)
