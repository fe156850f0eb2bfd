"""Somebody without a key that exists."""

from bench.scenarios.port import DECISIONS, WHOLE_JOB, Scenario

SCENARIO = Scenario(
    "refused-by-key",
    "the same request with a key that nobody has",
    seconds_max=2,
    status=401,
    caller="unknown",
    peers=WHOLE_JOB,
    group=DECISIONS,
)
