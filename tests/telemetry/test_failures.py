"""An error as people and programs read it."""

import json

from gateway.errors import ConfigError, Fault, GatewayError
from gateway.telemetry.failures import failure_text

PLAIN = GatewayError("plan.unknown", "no plan\nis called \x1b[1m₩", "choose another")
FAULTS = ConfigError([Fault("g\n.yaml", 3, 5, "$.routes[0]", "unknown key", "one of: name")])


def test_people_get_a_paragraph_and_a_hint() -> None:
    told = failure_text(PLAIN, as_json=False, encoding="utf-8")

    assert told == "error: no plan is called \\x1b[1m₩ [plan.unknown]\nhint: choose another"


def test_each_fault_of_a_file_has_a_line() -> None:
    told = failure_text(FAULTS, as_json=False, encoding="utf-8").splitlines()

    assert told[0] == "g\\n.yaml:3:5: $.routes[0]: unknown key (one of: name)"
    assert told[1].startswith("hint: correct the lines above")


def test_programs_get_one_object_on_a_line() -> None:
    told = failure_text(PLAIN, as_json=True, encoding="ascii")

    assert told.isascii()
    assert "\n" not in told
    assert json.loads(told) == {
        "code": "plan.unknown",
        "message": "no plan\nis called \x1b[1m₩",
        "hint": "choose another",
        "problems": [],
    }


def test_faults_are_problems() -> None:
    found = json.loads(failure_text(FAULTS, as_json=True, encoding="utf-8"))

    assert found["code"] == "config.invalid"
    assert found["message"] == "the configuration has faults: 1"
    assert found["problems"] == [
        {
            "file": "g\n.yaml",
            "line": 3,
            "column": 5,
            "path": "$.routes[0]",
            "message": "unknown key",
            "expected": "one of: name",
        }
    ]


def test_a_log_gets_one_line_for_the_error_and_one_for_the_hint() -> None:
    long = GatewayError("plan.unknown", "no plan " * 40, "choose " * 40)

    told = failure_text(long, as_json=False, encoding="utf-8", width=10_000).splitlines()

    assert [line.split(":")[0] for line in told] == ["error", "hint"]
    assert len(failure_text(long, as_json=False, encoding="utf-8").splitlines()) > 4
