"""Requests of a megabyte."""

from bench.scenarios.port import MOVING_BYTES, Scenario

SCENARIO = Scenario(
    "megabyte-up",
    "a POST of 1 MB with a small answer, 16 connections, per request",
    method="POST",
    path="/v1/taken",
    body=b"0123456789abcdef" * 65_536,
    peers=MOVING_BYTES,
    connections=16,
    seconds_max=2,
)
