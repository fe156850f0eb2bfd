"""A caller that nobody knows who names each try: what was refused before is not repeated."""

from bench.scenarios.port import DECISIONS, Scenario

SCENARIO = Scenario(
    "refused-by-key-anew",
    "the request with an unknown key with something new in each head",
    seconds_max=2,
    status=401,
    caller="unknown",
    peers=("gateway",),
    group=DECISIONS,
    is_new_each_time=True,
)
