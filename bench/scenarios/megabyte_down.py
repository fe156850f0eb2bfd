"""Answers of a megabyte: the cost of moving bytes."""

from bench.scenarios.port import MOVING_BYTES, Scenario

SCENARIO = Scenario(
    "megabyte-down",
    "a GET that is answered with 1 MB, 16 connections, per megabyte",
    path="/v1/megabyte",
    peers=MOVING_BYTES,
    connections=16,
    seconds_max=2,
    unit="MB",
    unit_bytes=1_048_576,
)
