"""How long a caller waits, at a constant rate over 512 connections."""

from bench.scenarios.port import WHOLE_JOB, Scenario

SCENARIO = Scenario(
    "latency-512",
    "the passed request at 1,000 a second over 512 connections",
    peers=("direct", "nginx", "envoy", *WHOLE_JOB),
    connections=512,
    rate=1000.0,
    seconds_max=2,
)
