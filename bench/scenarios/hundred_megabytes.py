"""Answers that no proxy should hold in memory."""

from bench.scenarios.port import MOVING_BYTES, Scenario

SCENARIO = Scenario(
    "hundred-megabytes",
    "a GET that is answered with 100 MB, 4 connections, per megabyte: look at the memory",
    path="/v1/hundred-megabytes",
    peers=MOVING_BYTES,
    connections=4,
    seconds_max=2,
    unit="MB",
    unit_bytes=1_048_576,
)
