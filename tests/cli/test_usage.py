"""Usage from the ledger: sums for people, events for finance (A22)."""

import csv
import io
from dataclasses import replace

import pytest

from gateway.cli.usage import PAGE
from tests.support.operator_desk import OperatorDesk, record_of, this_month


def test_usage_is_told_per_workspace_and_meter(desk: OperatorDesk) -> None:
    refused = record_of(
        3, status=429, outcome="refused", code="quota_exceeded", billable=False,
        reason="refused", run_id=None, charged_micro={"dc": 0, "requests": 0},
    )  # fmt: skip
    desk.ship(record_of(1, dc=2), record_of(2, dc=3), refused, record_of(4, workspace="globex"))

    rows = desk.json("usage", "--period", "2020-02", "--workspace", "acme")

    (dc,) = (row for row in rows if row["meter"] == "dc")
    assert (dc["requests"], dc["billable_events"], dc["refused"]) == (3, 2, 1)
    assert (dc["charged"], dc["largest"]) == ("5", "3")
    everybody = desk.json("usage", "--period", "2020-02")
    assert {row["workspace_id"] for row in everybody} == {"acme", "globex"}
    assert "WORKSPACE" in desk.run("usage", "--period", "2020-02")


def test_all_that_was_used_is_told(desk: OperatorDesk) -> None:
    count = 10_001
    desk.ship(*(record_of(number, workspace=f"ws-{number:05}") for number in range(count)))

    rows = desk.json("usage", "--period", "2020-02")

    assert len({row["workspace_id"] for row in rows}) == count


def test_the_present_period_is_the_default(desk: OperatorDesk) -> None:
    desk.ship(record_of(1, period=this_month()))

    assert {row["bucket"] for row in desk.json("usage")} == {this_month()}


def test_nothing_used_is_said(desk: OperatorDesk) -> None:
    desk.ship()  # an empty ledger
    assert desk.run("usage", "--period", "2020-01") == ""
    assert desk.told == "Nothing was used in 2020-01.\n"


def test_an_empty_workspace_does_not_mean_all(desk: OperatorDesk) -> None:
    """As a shell gives it for a variable that is not set."""
    desk.ship(record_of(1, period=this_month()))

    assert desk.run("usage", "--workspace", "", expect=2) == ""
    assert "--workspace is given, but empty" in desk.told


@pytest.mark.parametrize("period", ["", "garbage", "2020-13", "1969-12", "2100-01"])
@pytest.mark.parametrize("export", [[], ["--export", "csv"]])
def test_what_is_no_month_is_refused(desk: OperatorDesk, period: str, export: list[str]) -> None:
    """Nothing was used in it, which is no answer to somebody who mistyped it."""
    assert desk.run("usage", "--period", period, *export, expect=1) == ""
    assert "[period.invalid]" in desk.told


def test_a_month_may_be_written_short(desk: OperatorDesk) -> None:
    desk.ship(record_of(1))

    assert {row["bucket"] for row in desk.json("usage", "--period", "2020-2")} == {"2020-02"}
    assert "run-1" in desk.run("usage", "--period", "2020-2", "--export", "csv")


def test_an_export_names_its_columns_as_the_pricing_file_does(desk: OperatorDesk) -> None:
    """A22: event_name, quantity_field and idempotency_key_field are the file's."""
    desk.ship(record_of(1, dc=2), record_of(2, run_id=None))

    rows = list(
        csv.DictReader(io.StringIO(desk.run("usage", "--period", "2020-02", "--export", "csv")))
    )

    assert [row["event_name"] for row in rows] == ["decisionproof.dc"] * 2
    assert [row["dc_amount"] for row in rows] == ["2", "1"]
    assert rows[0]["run_id"] == "run-1"
    assert rows[1]["run_id"] == rows[1]["event_id"]
    assert rows[0]["billable"] == "true"
    assert rows[0]["deduplication_status"] == "new"
    assert rows[0]["occurred_at"] == "2020-02-06T14:40:00Z"


def test_an_export_says_how_many_requests_a_line_stands_for(desk: OperatorDesk) -> None:
    desk.ship(record_of(1), replace(record_of(2), count=41))

    out = desk.run("usage", "--period", "2020-02", "--export", "csv")

    assert out.splitlines()[0].endswith(",count"), "new columns come last"
    assert [row["count"] for row in csv.DictReader(io.StringIO(out))] == ["1", "41"]
    (row,) = [row for row in desk.json("usage", "--period", "2020-02") if row["meter"] == "dc"]
    assert row["requests"] == 42


def test_a_caller_writes_no_formulas_into_the_export(desk: OperatorDesk) -> None:
    run_ids = ["=1+1", "+1", "-1", "@x", "a=1", "1"]
    desk.ship(*(record_of(number, run_id=run_id) for number, run_id in enumerate(run_ids)))

    out = desk.run("usage", "--period", "2020-02", "--export", "csv")

    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["run_id"] for row in rows] == ["'=1+1", "'+1", "'-1", "'@x", "a=1", "1"]
    assert {row["dc_amount"] for row in rows} == {"1"}


def test_an_export_is_complete_over_many_pages(desk: OperatorDesk) -> None:
    count = 2 * PAGE + 1
    desk.ship(*(record_of(number) for number in range(count)))

    lines = desk.run("usage", "--period", "2020-02", "--export", "csv").splitlines()

    assert len(lines) == count + 1
    assert len(set(lines)) == count + 1
