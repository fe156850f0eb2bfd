"""What commands show: tables for people and pipes, JSON, CSV, errors in one paragraph."""

import io
import json

import pytest

from gateway.cli import output
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.rules.plan import Currency
from gateway.rules.units import MICRO, UNLIMITED

KRW = Currency("KRW", "₩", 0, tax_inclusive=False)
USD = Currency("USD", "$", 2, tax_inclusive=True)
BARE = Currency("CHF", "", 2, tax_inclusive=True)

ROWS = [{"id": "a", "plan": "STARTER", "hidden": 1}, {"id": "bb", "plan": None, "hidden": 2}]
COLUMNS = {"id": "ID", "plan": "PLAN"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows(ROWS, COLUMNS, as_json=False, empty="none")

    assert capsys.readouterr().out == "ID  PLAN\na   STARTER\nbb  -\n"


def test_a_terminal_gets_the_same_words_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)

    output.rows([{"id": "[red]x[/red]", "plan": "P"}], COLUMNS, as_json=False, empty="none")

    assert "[red]x[/red]" in terminal.getvalue(), "an id is never read as markup"
    assert "PLAN" in terminal.getvalue()


def test_json_holds_all_facts_even_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows(ROWS, COLUMNS, as_json=True, empty="none")
    assert json.loads(capsys.readouterr().out) == ROWS

    output.rows([], COLUMNS, as_json=True, empty="none")
    assert json.loads(capsys.readouterr().out) == []


def test_nothing_is_said_in_words_beside_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([], COLUMNS, as_json=False, empty="There are none.")

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "There are none.\n")


def test_facts_are_told_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.facts({"key_id": "k", "on": True, "networks": []}, as_json=False)

    assert capsys.readouterr().out == "key id    k\non        yes\nnetworks  -\n"


def test_csv_quotes_what_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    output.csv_rows(["a", "b"], [['x,"y"', 1]])

    assert capsys.readouterr().out == 'a,b\n"x,""y""",1\n'


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_what_a_caller_chose_is_no_formula(text: str) -> None:
    assert output.callers_text(text) == f"'{text}"
    assert output.callers_text(f"a{text}") == f"a{text}"


def test_an_error_is_one_paragraph_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    output.failure(GatewayError("plan.unknown", "there is no such plan", "choose another"))

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: there is no such plan [plan.unknown]\nhint: choose another\n"


def test_every_fault_of_a_configuration_stands_on_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    faults = [Fault("g.yaml", 3, 5, "$.routes[0]", "unknown key", "one of: name, match")] * 2

    output.failure(ConfigError(faults))

    told = capsys.readouterr().err.splitlines()
    assert told[0] == "g.yaml:3:5: $.routes[0]: unknown key (one of: name, match)"
    assert told[0] == told[1]
    assert told[2].startswith("hint: ")


def test_progress_is_silent_in_a_pipe_and_drawn_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with output.progress("events") as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with output.progress("events", total=10) as advance:
        advance(10)
    assert "events" in terminal.getvalue()


@pytest.mark.parametrize(
    ("currency", "minor", "told"),
    [
        (KRW, 107_000, "₩107,000"),
        (KRW, 0, "₩0"),
        (USD, 1_250, "$12.50"),
        (USD, 5, "$0.05"),
        (USD, -1_250, "-$12.50"),
        (BARE, 100, "CHF 1.00"),
    ],
)
def test_money_is_told_with_the_currencys_decimals(
    currency: Currency, minor: int, told: str
) -> None:
    """A17: integer minor units; KRW has none below the unit."""
    assert output.money(currency, minor) == told


def test_a_limit_that_is_none_is_called_unlimited() -> None:
    assert output.cap(UNLIMITED) == "unlimited"
    assert output.cap(1_500_000) == "1.5"


def test_instants_are_told_in_utc() -> None:
    assert output.instant(1_795_132_800 * MICRO) == "2026-11-20T00:00:00Z"
    assert output.instant(None) is None


@pytest.mark.parametrize(
    ("at_micro", "told"),
    [
        (10**18, "9999-12-31T23:59:59Z"),
        (-(10**18), "0001-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ],
)
def test_an_instant_beyond_the_calendar_is_told_as_its_end(at_micro: int, told: str) -> None:
    """One row must not take the whole list with it."""
    assert output.instant(at_micro) == told
