"""A7, A8, D1: what is billed, and what the counters are told afterwards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.charge import Charge
from gateway.rules.record import Outcome
from gateway.rules.settlement import Settlement, billability, settle
from gateway.rules.units import MICRO
from tests.support.plans import BILLING, charge_of, monthly, rpm


def settled(
    charge: Charge | None,
    *,
    billable: bool,
    actual: dict[str, int] | None = None,
    repeat: bool = False,
    counted: bool = True,
) -> Settlement:
    return settle(
        charge, {"dc": 10 * MICRO}, actual or {},
        billable=billable, reason="x", repeat=repeat, counted=counted,
    )  # fmt: skip


def run(charge: Charge) -> Charge:
    return replace(charge, run_key="idempotency:{w}:r")


@pytest.mark.parametrize("status", range(100, 600))
def test_billable_is_what_the_file_says(status: int) -> None:
    """A8, 0.13: every status against the file's table."""
    billable, reason = billability(BILLING, status, Outcome.COMPLETED, repeat=False)

    assert billable == (200 <= status < 300 or status == 422)
    assert reason in {"success", "http_422"} if billable else reason


@pytest.mark.parametrize(
    ("status", "outcome", "repeat", "expected"),
    [
        (200, Outcome.REFUSED, False, (False, "refused")),
        (200, Outcome.UPSTREAM_FAILED, False, (False, "upstream_failed")),
        (0, Outcome.CLIENT_GONE, False, (False, "client_gone")),
        (200, Outcome.CLIENT_GONE, False, (True, "success")),
        (200, Outcome.COMPLETED, True, (True, "success")),
        (503, Outcome.COMPLETED, True, (False, "repeat")),
        (200, Outcome.UPSTREAM_FAILED, True, (False, "upstream_failed")),
    ],
)
def test_outcome_counts_too(
    status: int, outcome: Outcome, repeat: bool, expected: tuple[bool, str]
) -> None:
    assert billability(BILLING, status, outcome, repeat=repeat) == expected


@pytest.mark.parametrize(
    ("status", "outcome", "expected"),
    [
        (0, Outcome.CLIENT_GONE, (True, "abandoned")),
        (404, Outcome.CLIENT_GONE, (False, "http_404")),
        (0, Outcome.STOPPED, (False, "stopped")),
        (0, Outcome.UPSTREAM_FAILED, (False, "upstream_failed")),
    ],
)
def test_what_is_left_to_the_upstream_unanswered_is_not_free(
    status: int, outcome: Outcome, expected: tuple[bool, str]
) -> None:
    assert billability(BILLING, status, outcome, repeat=False, abandoned=True) == expected


def test_billed_request_needs_no_correction() -> None:
    result = settled(charge_of(rpm(5), monthly(50), dc_micro=10 * MICRO), billable=True)

    assert result.deltas == []
    assert result.charged_micro == {"dc": 10 * MICRO}


def test_unbilled_request_gets_its_quota_back_but_not_its_rate() -> None:
    """T5: and its run id may be charged again."""
    charge = run(charge_of(rpm(5), monthly(50), dc_micro=10 * MICRO))

    result = settled(charge, billable=False)

    assert [(delta.key, delta.delta_micro) for delta in result.deltas] == [
        ("usage:{w}:2026-11", -10 * MICRO)
    ]
    assert result.charged_micro == {"dc": 0}
    assert result.releases_run


@given(st.integers(0, 100 * MICRO))
def test_counter_ends_at_the_actual_cost(actual_micro: int) -> None:
    charge = charge_of(monthly(50), dc_micro=10 * MICRO)

    result = settled(charge, billable=True, actual={"dc": actual_micro})

    correction = sum(delta.delta_micro for delta in result.deltas)
    assert 10 * MICRO + correction == actual_micro == result.charged_micro["dc"]


def test_a_billable_repeat_owes_what_a_first_try_would_have_been_charged() -> None:
    """A7: rates have counted it already."""
    charge = run(charge_of(rpm(5), monthly(50), dc_micro=10 * MICRO))

    result = settled(charge, billable=True, repeat=True)
    settled_otherwise = settled(charge, billable=True, repeat=True, actual={"dc": 3 * MICRO})

    (delta,) = result.deltas
    assert (delta.key, delta.delta_micro) == ("usage:{w}:2026-11", 10 * MICRO)
    assert [one.delta_micro for one in settled_otherwise.deltas] == [3 * MICRO]
    assert not result.releases_run


def test_repeat_costs_nothing_and_keeps_the_run() -> None:
    """A7."""
    result = settled(run(charge_of(monthly(50))), billable=False, repeat=True)

    assert result.deltas == []
    assert result.charged_micro == {"dc": 0}
    assert not result.releases_run


def test_request_let_through_without_the_store_is_counted_later() -> None:
    """N5."""
    charge = charge_of(rpm(5), monthly(50), dc_micro=10 * MICRO)

    result = settled(charge, billable=True, counted=False)

    assert [delta.delta_micro for delta in result.deltas] == [10 * MICRO]
    assert settled(charge, billable=False, counted=False).deltas == []


def test_route_without_limits_is_still_recorded() -> None:
    result = settled(None, billable=True)

    assert result.charged_micro == {"dc": 10 * MICRO}
    assert result.deltas == []
