"""The bill at the command line (A18, A23)."""

import csv
import io
import json

import pytest

from tests.support.operator_desk import OperatorDesk, record_of


@pytest.fixture
def acme(desk: OperatorDesk) -> OperatorDesk:
    desk.run("workspaces", "create", "acme", "--plan", "STARTER")
    desk.ship(record_of(1, dc=3_020))
    return desk


def test_a_bill_is_told_with_its_computation(acme: OperatorDesk) -> None:
    out = acme.run("statement", "acme", "--period", "2020-02")

    assert "₩107,000" in out
    assert "3020 used - 20 waived (grace) - 1000 included" in out


@pytest.mark.parametrize("arguments", [["--json"], ["--format", "json"]])
def test_a_bill_for_programs_is_exact(acme: OperatorDesk, arguments: list[str]) -> None:
    found = json.loads(acme.run("statement", "acme", "--period", "2020-02", *arguments))

    assert found["amount_minor"] == 107_000
    assert found["currency"] == "KRW"
    assert found["is_final"] is True
    assert len(found["digest"]) == 64


def test_a_bill_for_a_spreadsheet_is_one_row(acme: OperatorDesk) -> None:
    out = acme.run("statement", "acme", "--period", "2020-02", "--format", "csv")

    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["amount_minor"], row["waived_grace_units"]) == ("107000", "20")
    assert (row["tax_inclusive"], row["is_final"]) == ("false", "true")


def test_a_running_month_is_marked(acme: OperatorDesk) -> None:
    assert "(still running)" in acme.run("statement", "acme")


def test_a_bill_of_nobody_is_refused(acme: OperatorDesk) -> None:
    acme.run("statement", "nobody", expect=1)

    assert "[workspace.unknown]" in acme.told
