"""A caller over its limit who goes on: what an attack or a broken client costs."""

from bench.scenarios.port import WHOLE_JOB, Scenario

SCENARIO = Scenario(
    "refused-by-rate",
    "the same request over its limit per minute, remembered by the worker",
    seconds_max=2,
    status=429,
    caller="limited",
    peers=WHOLE_JOB,
)
