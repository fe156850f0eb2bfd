"""The whole job."""

from bench.scenarios.port import DECISIONS, Scenario

SCENARIO = Scenario("passed", "a GET with a small JSON answer", group=DECISIONS)
