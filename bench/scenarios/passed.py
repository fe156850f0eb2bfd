"""The whole job."""

from bench.scenarios.port import Scenario

SCENARIO = Scenario("passed", "a GET with a small JSON answer")
