"""How long a caller waits when there is more to do; too much for aiohttp, which is left out."""

from bench.scenarios.port import BARE, Scenario

SCENARIO = Scenario(
    "latency-64-busy",
    "the passed request at 4,000 a second over 64 connections",
    peers=("direct", *BARE, "nginx-lua", "gateway"),
    connections=64,
    rate=4000.0,
    seconds_max=2,
)
