"""A6, A10, N1: what counts mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.decision import (
    alerting,
    flags_of,
    remember_refusal_until_micro,
    retry_after_seconds,
    seconds_until,
    violations_of,
    would_refuse,
)
from gateway.rules.limits import Action
from gateway.rules.units import MICRO
from gateway.rules.windows import Window, WindowKind
from tests.support.plans import NOW_MICRO, charge_of, counts_of, extra, monthly, rpm

STARTER = monthly(2000, overage=1000, grace_micro=30 * MICRO)


@pytest.mark.parametrize(
    ("after", "flags"),
    [(2000, []), (2001, ["overage"]), (3000, ["overage"]), (3001, ["overage", "grace"]),
     (3030, ["overage", "grace"])],
)  # fmt: skip
def test_overage_and_grace_are_flagged(after: int, flags: list[str]) -> None:
    charge = charge_of(STARTER)

    assert flags_of(charge, counts_of(charge.template, after)) == flags


def test_what_adds_nothing_is_not_flagged() -> None:
    soft = extra("soft", 5, Window(WindowKind.DAY), action=Action.WARN)
    often = rpm(5)
    free = charge_of(STARTER, soft, dc_micro=0)
    charge = charge_of(STARTER, soft, often)

    assert flags_of(free, counts_of(free.template, 3001, 6)) == []
    assert flags_of(charge, counts_of(charge.template, 3001, 6, 1, repeat=True)) == []
    assert flags_of(charge, counts_of(charge.template, 0, 0, 6, repeat=True)) == ["overage"]


def test_warning_limit_is_flagged_by_name() -> None:
    charge = charge_of(extra("soft", 5, Window(WindowKind.DAY), action=Action.WARN))

    assert flags_of(charge, counts_of(charge.template, 5)) == []
    assert flags_of(charge, counts_of(charge.template, 6)) == ["warn:soft"]


def test_whoever_wants_to_be_told_is_told_of_counters_above_their_quotas() -> None:
    untold = extra("untold", 5, Window(WindowKind.DAY))
    template = charge_of(STARTER, untold).template

    assert alerting(template, (2000 * MICRO, 6 * MICRO)) == []
    assert alerting(template, (2000 * MICRO + 1, 6 * MICRO)) == [template.entries[0]]


def test_every_violated_policy_is_named() -> None:
    """N1, 0.38."""
    charge = charge_of(rpm(60), monthly(50))

    named = violations_of(charge, counts_of(charge.template, 60, 50, admitted=False))

    assert [(v.policy, v.limit, v.current, v.window_seconds) for v in named] == [
        ("rpm", 60, 61, 60),
        ("monthly_dc", 50, 51, None),
    ]


def test_hard_cap_is_named_with_the_total_and_what_would_have_been_reached() -> None:
    """T4, T7."""
    charge = charge_of(STARTER)

    (named,) = violations_of(charge, counts_of(charge.template, 3030, admitted=False))

    assert (named.policy, named.limit, named.current) == ("hard_overage_cap", 3000, 3031)
    assert named.overage == 1000


def test_only_what_counts_repeats_refuses_a_repeat() -> None:
    charge = charge_of(rpm(60), monthly(50))

    named = violations_of(charge, counts_of(charge.template, 60, 50, admitted=False, repeat=True))

    assert [violation.policy for violation in named] == ["rpm"]


def test_retry_after_waits_for_the_slowest_policy() -> None:
    """T26."""
    charge = charge_of(rpm(60), monthly(50))

    named = violations_of(charge, counts_of(charge.template, 60, 50, admitted=False))

    assert retry_after_seconds(named) == 11 * 86_400
    assert retry_after_seconds(named[:1]) == 60
    assert retry_after_seconds([]) is None


def test_what_exceeds_an_empty_period_never_passes() -> None:
    charge = charge_of(monthly(50), dc_micro=51 * MICRO)

    named = violations_of(charge, counts_of(charge.template, 0, admitted=False))

    assert retry_after_seconds(named) is None


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_wait_is_whole_positive_and_long_enough(end_micro: int, now_micro: int) -> None:
    wait = seconds_until(end_micro, now_micro)

    assert wait >= 1
    assert now_micro + wait * MICRO >= end_micro


def test_cost_of_zero_is_never_refused() -> None:
    charge = charge_of(monthly(50), dc_micro=0)

    assert not would_refuse(charge.template.entries[0], 0, 60 * MICRO)


def test_refusal_by_a_rate_alone_is_remembered_until_the_window_ends() -> None:
    """DESIGN 4: a fixed window can't un-exhaust by itself."""
    charge = charge_of(rpm(60))

    until_micro = remember_refusal_until_micro(
        charge, counts_of(charge.template, 60, admitted=False)
    )

    assert until_micro == NOW_MICRO + 60 * MICRO


@pytest.mark.parametrize("used", [1, 50])
def test_refusal_by_a_rate_beside_others_is_remembered_briefly(used: int) -> None:
    """What it tells of the others changes meanwhile."""
    charge = charge_of(rpm(60), monthly(50))

    until_micro = remember_refusal_until_micro(
        charge, counts_of(charge.template, 60, used, admitted=False)
    )

    assert until_micro == NOW_MICRO + MICRO


def test_no_refusal_is_remembered_beyond_the_window() -> None:
    charge = charge_of(rpm(60), monthly(50))
    counts = counts_of(charge.template, 60, 50, admitted=False)
    counts.now_micro += 59 * MICRO + 500_000

    assert remember_refusal_until_micro(charge, counts) == NOW_MICRO + 60 * MICRO


def test_refusal_by_quota_is_remembered_briefly_because_it_can_be_refunded() -> None:
    charge = charge_of(rpm(60), monthly(50))

    until_micro = remember_refusal_until_micro(
        charge, counts_of(charge.template, 1, 50, admitted=False)
    )

    assert until_micro == NOW_MICRO + MICRO
