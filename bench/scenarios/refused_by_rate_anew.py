"""A caller over its limit who names each try: what was refused before is not repeated."""

from bench.scenarios.port import DECISIONS, Scenario

SCENARIO = Scenario(
    "refused-by-rate-anew",
    "the request beyond a used-up limit with something new in each head",
    seconds_max=2,
    status=429,
    caller="limited",
    peers=("gateway",),
    group=DECISIONS,
    is_new_each_time=True,
)
