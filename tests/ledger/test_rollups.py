"""A22, D1: what a record adds to the sums of its workspace."""

from dataclasses import replace

import pytest

from gateway.ledger.rollups import CORRECTION, Tally, accumulate, counted_events, hour_bucket
from gateway.rules.record import Record
from gateway.rules.units import MICRO

NOON = 1_763_640_000_000_000
"""2025-11-20 12:00 UTC."""


def record(**facts: object) -> Record:
    made = Record(
        event_id="e", request_id="r", occurred_at_micro=NOON, workspace_id="acme", key_id="k",
        plan="STARTER", route="runs", method="POST", run_id=None, status=200, outcome="completed",
        code=None, billable=True, reason="success", repeat=False,
        quantities_micro={"dc": 2 * MICRO}, charged_micro={"dc": 2 * MICRO}, pricing_version="v",
        period="2025-11",
    )  # fmt: skip
    return replace(made, **facts)  # type: ignore[arg-type]


def month(*records: Record, meter: str = "dc") -> Tally:
    return accumulate(records)["month", "acme", meter, "2025-11", "2025-11"]


REFUSED = record(
    outcome="refused", status=429, billable=False, reason="refused", charged_micro={"dc": 0}
)
REPEAT = record(billable=False, repeat=True, reason="repeat", charged_micro={"dc": 0})


def test_a_billed_record_counts_in_its_meter_and_in_requests_hourly_and_monthly() -> None:
    tallies = accumulate([record()])
    assert {key[:4] for key in tallies} == {
        ("month", "acme", "dc", "2025-11"),
        ("month", "acme", "requests", "2025-11"),
        ("hour", "acme", "dc", "2025-11-20T12:00Z"),
        ("hour", "acme", "requests", "2025-11-20T12:00Z"),
    }
    assert month(record()) == Tally(1, 1, 0, 0, 2 * MICRO, 2 * MICRO)
    assert month(record(), meter="requests") == Tally(1, 1, 0, 0, MICRO, MICRO)


def test_refusals_and_repeats_are_counted_and_not_billed() -> None:
    assert month(REFUSED, REPEAT, record()) == Tally(3, 1, 1, 1, 2 * MICRO, 2 * MICRO)
    assert month(REFUSED, REPEAT, record(), meter="requests") == Tally(3, 1, 1, 1, MICRO, MICRO)


def test_a_record_of_many_refusals_counts_each_of_them() -> None:
    many = replace(REFUSED, event_id="many", count=31)
    assert month(REFUSED, many, record()) == Tally(33, 1, 32, 0, 2 * MICRO, 2 * MICRO)
    assert month(many, meter="requests") == Tally(31, 0, 31, 0, 0, 0)
    assert month(replace(REFUSED, repeat=True, count=3)).repeats == 3


def test_sum_count_and_maximum_are_what_the_pricing_file_aggregates() -> None:
    """A22: a billed quantity of zero is no event of its meter."""
    records = [
        record(quantities_micro={"dc": micro}, charged_micro={"dc": micro})
        for micro in (3 * MICRO, 0, 7 * MICRO, 500_000)
    ]
    assert month(*records) == Tally(4, 3, 0, 0, 10_500_000, 7 * MICRO)
    assert month(*records, meter="requests").billable_events == 4


def test_meters_do_not_mix() -> None:
    both = record(
        quantities_micro={"dc": MICRO, "llm_tokens": 900 * MICRO},
        charged_micro={"dc": MICRO, "llm_tokens": 900 * MICRO},
    )
    assert month(record(), both).requests == 2
    assert month(record(), both, meter="llm_tokens") == Tally(1, 1, 0, 0, 900 * MICRO, 900 * MICRO)


def test_a_correction_takes_back_a_whole_event_or_a_quantity_alone() -> None:
    """D1, 3.6: a correction is no request; the maximum stays."""
    back = record(
        reason=CORRECTION, quantities_micro={"dc": -2 * MICRO}, charged_micro={"dc": -2 * MICRO}
    )
    assert month(record(), back) == Tally(1, 0, 0, 0, 0, 2 * MICRO)
    assert month(record(), back, meter="requests") == Tally(1, 0, 0, 0, 0, MICRO)
    part = replace(back, billable=False)
    assert month(record(), part) == Tally(1, 1, 0, 0, 0, 2 * MICRO)
    assert month(record(), part, meter="requests") == Tally(1, 1, 0, 0, MICRO, MICRO)


@pytest.mark.parametrize(("micro", "events"), [(5, 1), (0, 0), (-5, -1)])
def test_events_are_counted_by_the_sign_of_what_is_billed(micro: int, events: int) -> None:
    assert counted_events(record(), micro) == events
    assert counted_events(record(billable=False), micro) == 0


def test_a_late_settlement_stays_in_the_period_of_its_charge() -> None:
    """N7: the record says its period; the hour is that of the record."""
    tallies = accumulate([record(period="2025-10")])
    assert ("month", "acme", "dc", "2025-10", "2025-10") in tallies
    assert ("hour", "acme", "dc", "2025-11-20T12:00Z", "2025-10") in tallies


def test_a_record_that_was_never_charged_lies_in_its_utc_month() -> None:
    assert month(record(period=None)).requests == 1


def test_a_record_of_nobody_is_in_nobodys_sum() -> None:
    assert accumulate([record(workspace_id=None)]) == {}


def test_hours_are_named_in_utc() -> None:
    assert hour_bucket(0) == "1970-01-01T00:00Z"
    assert hour_bucket(NOON // (3600 * MICRO)) == "2025-11-20T12:00Z"
