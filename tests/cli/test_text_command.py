"""Arguments that are no text are wrong usage; the parts of a request may hold any byte."""

import pytest

from tests.support.operator_desk import OperatorDesk

NO_TEXT = "caf\udce9"


@pytest.mark.parametrize(
    "arguments",
    [
        ["statement", NO_TEXT],
        ["usage", "-w", NO_TEXT],
        ["explain", "GET", f"/{NO_TEXT}"],
        ["keys", "create", "acme", "--name", NO_TEXT],
        ["keys", "create", "acme", "--feature", "replay", "--feature", NO_TEXT],
        ["workspaces", "list", "--after", NO_TEXT],
    ],
)
def test_bytes_that_are_no_text_are_named(desk: OperatorDesk, arguments: list[str]) -> None:
    desk.run(*arguments, expect=2)

    assert "caf\\udce9' is not UTF-8 [usage.wrong]" in " ".join(desk.told.split())


def test_a_request_may_hold_any_byte(desk: OperatorDesk) -> None:
    desk.run("workspaces", "create", "acme", "--plan", "STARTER")

    asked = ("explain", "POST", "/v1/runs", "-w", "acme", "-H", f"X-Name: {NO_TEXT}")
    assert desk.json(*asked)["forwards"] is True
    assert desk.json(*asked, "-d", NO_TEXT, expect=1)["code"] == "cost_invalid"
