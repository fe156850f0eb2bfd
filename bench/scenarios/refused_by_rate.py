"""A caller over its limit who goes on: what an attack or a broken client costs."""

from bench.scenarios.port import DECISIONS, WHOLE_JOB, Scenario

SCENARIO = Scenario(
    "refused-by-rate",
    "the same request beyond a limit that is used up, as the worker remembers",
    seconds_max=2,
    status=429,
    caller="limited",
    peers=WHOLE_JOB,
    group=DECISIONS,
)
