"""Answers of a megabyte: the cost of moving bytes."""

from bench.scenarios.port import Scenario

SCENARIO = Scenario(
    "megabyte-down",
    "a GET that is answered with 1 MB, 16 connections, per megabyte",
    path="/v1/megabyte",
    connections=16,
    seconds_max=2,
    unit="MB",
    unit_bytes=1_048_576,
)
