"""The upstream fails: what was charged is given back."""

from bench.scenarios.port import DECISIONS, Scenario

SCENARIO = Scenario(
    "refunded",
    "an upstream that answers 500: forwarded, charged, given back",
    seconds_max=2,
    path="/v1/broken",
    status=500,
    peers=("gateway",),
    group=DECISIONS,
)
