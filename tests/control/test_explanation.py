"""An explanation gathers what was passed, in order."""

from gateway.control.explanation import Explanation, Step


def test_steps_that_are_passed_are_kept_in_their_order() -> None:
    found = Explanation()

    found.note("route", "it is route 'a'")
    found.note("caller", "it is acme")

    assert found.steps == [
        Step("route", passed=True, told="it is route 'a'"),
        Step("caller", passed=True, told="it is acme"),
    ]
    assert (found.forwards, found.status, found.detail) == (False, None, None)
