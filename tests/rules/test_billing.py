"""Month-end settlement: A6, A17, A18, A22, A23; defect T8."""

import dataclasses
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.billing import (
    GraceResolution,
    PeriodUsage,
    Statement,
    digest_of,
    grace_units,
    settle_period,
)
from gateway.rules.plan import (
    Aggregation,
    AnswerFormat,
    BillingRules,
    Currency,
    Grace,
    GracePolicy,
    Meter,
    Pricing,
    Tier,
    ViolatedForm,
)
from gateway.rules.units import MICRO, UNLIMITED, Cap


def tier(
    *,
    included: int | None = 1_000,
    total_cap: int | None = 3_000,
    grace: int = 30,
    policy: GracePolicy = GracePolicy.WAIVE_EXCESS,
    base_price: int = 29_000,
    overage_price: int = 39,
    spending_limited: bool = True,
) -> Tier:
    """A plan with STARTER's figures unless told otherwise; None is unlimited."""
    return Tier(
        name="STARTER",
        features=frozenset(),
        ladders={},
        included_micro=cap(included),
        quota_micro=cap(total_cap),
        total_cap_micro=cap(total_cap),
        grace=Grace(grace * MICRO, policy),
        base_price_minor=base_price,
        overage_price_minor=overage_price,
        spending_limited=spending_limited,
        overage_alerts=True,
        max_execution_seconds=30,
        max_input_tokens=16_000,
        max_output_tokens=4_000,
        next_tier=None,
        upgrade_url=None,
    )


def cap(units: int | None) -> Cap:
    return UNLIMITED if units is None else units * MICRO


def pricing(aggregation: Aggregation = Aggregation.SUM, *, tax_inclusive: bool = False) -> Pricing:
    return Pricing(
        version="2026-02-14.v0.2.1",
        effective_from_micro=0,
        effective_to_micro=None,
        timezone="UTC",
        currency=Currency("KRW", "\u20a9", 0, tax_inclusive=tax_inclusive),
        meter=Meter("dc", "decisionproof.dc", "dc_amount", "run_id", aggregation, 45 * 86_400),
        tiers={},
        billing=BillingRules((), (), 429, "", "", None),
        answers=AnswerFormat(
            True,
            "RateLimit-Policy",
            "RateLimit",
            "application/problem+json",
            "violated-policies",
            ViolatedForm.OBJECTS,
            "policy_name",
            True,
            "",
            "",
        ),
    )


def usage(sum_micro: int = 0, *, count: int = 0, max_micro: int = 0) -> PeriodUsage:
    return PeriodUsage("w-1", "2026-11", sum_micro=sum_micro, count=count, max_micro=max_micro)


def bill(plan: Tier, used_units: int) -> Statement:
    return settle_period(pricing(), plan, usage(used_units * MICRO))


def test_starter_at_3020_waives_20_and_counts_3000() -> None:
    """A6, A18."""
    statement = bill(tier(), 3_020)

    assert statement.used_units == 3_020
    assert statement.waived_grace_units == 20
    assert statement.waived_spending_limit_units == 0
    assert statement.overage_units == 2_000
    assert statement.base_price_minor == 29_000
    assert statement.overage_amount_minor == 78_000
    assert statement.amount_minor == 107_000
    assert statement.lines[0].formula == (
        "max(0, 3020 used - 20 waived (grace) - 1000 included) x 39 = 78000"
    )


@pytest.mark.parametrize("used", [3_000, 3_001, 3_030, 3_031, 5_000, 1_000_000])
def test_starter_never_pays_more_than_107000_under_a_spending_limit(used: int) -> None:
    """A23."""
    statement = bill(tier(), used)

    assert statement.amount_minor == 107_000
    assert statement.waived_grace_units + statement.waived_spending_limit_units == used - 3_000


def test_without_a_spending_limit_what_was_let_through_is_billed() -> None:
    """A23."""
    statement = bill(tier(spending_limited=False), 4_000)

    assert statement.waived_grace_units == 30
    assert statement.waived_spending_limit_units == 0
    assert statement.amount_minor == 29_000 + (4_000 - 30 - 1_000) * 39


def test_a_grace_that_only_notifies_is_billed() -> None:
    """A6: ``notify_only``."""
    statement = bill(tier(policy=GracePolicy.NOTIFY_ONLY, spending_limited=False), 3_020)

    assert statement.waived_grace_units == 0
    assert statement.overage_units == 2_020


def test_a_grace_that_only_notifies_is_still_under_the_spending_limit() -> None:
    """A23 is the stronger promise."""
    statement = bill(tier(policy=GracePolicy.NOTIFY_ONLY), 3_020)

    assert statement.waived_grace_units == 0
    assert statement.waived_spending_limit_units == 20
    assert statement.amount_minor == 107_000


def test_fractions_are_rounded_up_once() -> None:
    """A17: three runs of 0.4 are 2 units, not 3."""
    statement = settle_period(
        pricing(), tier(included=0, base_price=0), usage(3 * 400_000, count=3, max_micro=400_000)
    )

    assert statement.used_units == 2
    assert statement.amount_minor == 78


def test_an_unlimited_inclusion_is_never_billed() -> None:
    statement = bill(tier(included=None, total_cap=None, grace=0, base_price=5), 10**9)

    assert statement.included_units is None
    assert statement.overage_units == 0
    assert statement.amount_minor == 5
    assert statement.lines[0].formula == "1000000000 used, all included = 0"


def test_an_unlimited_total_cap_bills_every_unit_above_the_included_ones() -> None:
    assert bill(tier(total_cap=None, grace=0), 10_000).amount_minor == 29_000 + 9_000 * 39


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [(Aggregation.SUM, 8), (Aggregation.COUNT, 4), (Aggregation.MAX, 3)],
)
def test_each_aggregation_settles(aggregation: Aggregation, expected: int) -> None:
    """A22: four events of 2.1, 2.1, 2.1 and 1.2 units; the peak was 2.1."""
    statement = settle_period(
        pricing(aggregation), tier(), usage(7_500_000, count=4, max_micro=2_100_000)
    )

    assert statement.used_units == expected


def test_tax_inclusive_is_told() -> None:
    statement = settle_period(pricing(tax_inclusive=True), tier(), usage())
    assert statement.tax_inclusive


def test_two_runs_give_the_same_digest_and_any_difference_another() -> None:
    one, two = bill(tier(), 3_020), bill(tier(), 3_020)

    assert one == two
    assert len(one.digest) == 64
    assert one.digest == digest_of(one)
    assert bill(tier(), 3_021).digest != one.digest
    assert digest_of(dataclasses.replace(one, period="2026-12")) != one.digest


def test_the_digest_is_the_same_on_every_machine() -> None:
    """A golden value: a change of it changes every statement that was ever given out."""
    assert bill(tier(), 3_020).digest == (
        "688a0afd708105d29bbfa6ca0a19c39d12e63b3183e234dd5ff69a6df802055c"
    )


@pytest.mark.parametrize("wrong", [usage(-1), usage(count=-1), usage(max_micro=-1)])
def test_usage_below_zero_is_refused(wrong: PeriodUsage) -> None:
    with pytest.raises(ValueError, match="below zero"):
        settle_period(pricing(), tier(), wrong)


@pytest.mark.parametrize(
    ("resolution", "base", "percent_micro", "most", "expected"),
    [
        (GraceResolution.MIN_OF_PERCENT_OR_DC, 3_000, MICRO, 100, 30),
        (GraceResolution.MIN_OF_PERCENT_OR_DC, 50_000, MICRO, 100, 100),
        (GraceResolution.MIN_OF_PERCENT_OR_DC, 1_000, 500_000, 100, 5),
        (GraceResolution.PERCENT_ONLY, 50_000, MICRO, 100, 500),
        (GraceResolution.DC_ONLY, 50_000, MICRO, 100, 100),
        (GraceResolution.PERCENT_ONLY, 10_000, 570_000, 0, 57),
    ],
)
def test_grace_is_resolved_as_the_file_says(
    resolution: GraceResolution, base: int, percent_micro: int, most: int, expected: int
) -> None:
    """T8: 0.57 % of 10,000 is 57; in binary floats it is 56."""
    units = grace_units(resolution, base_units=base, percent_micro=percent_micro, max_units=most)
    assert units == expected


@given(st.integers(0, 9 * 10**9), st.integers(0, 100 * MICRO))
def test_grace_percent_is_exact(base_units: int, percent_micro: int) -> None:
    """T8: ``max_grace_percent: 0.5`` and every other millionth."""
    exact = Fraction(base_units) * Fraction(percent_micro, MICRO) / 100
    got = grace_units(
        GraceResolution.PERCENT_ONLY,
        base_units=base_units,
        percent_micro=percent_micro,
        max_units=0,
    )
    assert got == floor(exact)


plans = st.builds(
    tier,
    included=st.none() | st.integers(0, 60),
    total_cap=st.none() | st.integers(0, 60),
    grace=st.integers(0, 10),
    policy=st.sampled_from(GracePolicy),
    base_price=st.integers(0, 100_000),
    overage_price=st.integers(0, 1_000),
    spending_limited=st.booleans(),
)
quantities = st.lists(st.integers(0, 9 * MICRO), max_size=12)


def reference_amount(plan: Tier, quantities_micro: list[int]) -> Fraction:
    """Sell the period unit by unit, with exact fractions and nothing clever."""
    used = ceil(sum((Fraction(one, MICRO) for one in quantities_micro), Fraction(0)))
    free = None if plan.included_micro is UNLIMITED else Fraction(plan.included_micro, MICRO)
    top = None if plan.total_cap_micro is UNLIMITED else Fraction(plan.total_cap_micro, MICRO)
    grace = Fraction(plan.grace.amount_micro, MICRO)
    amount = Fraction(plan.base_price_minor)
    for number in range(1, used + 1):
        if top is not None and number > top:
            if plan.grace.policy is GracePolicy.WAIVE_EXCESS and number <= top + grace:
                continue
            if plan.spending_limited:
                continue
        if free is None:
            continue
        if free >= 1:
            free -= 1
            continue
        amount += plan.overage_price_minor
    return amount


@given(plans, quantities)
def test_the_bill_equals_the_reference_model(plan: Tier, quantities_micro: list[int]) -> None:
    """A18."""
    statement = settle_period(pricing(), plan, usage(sum(quantities_micro)))

    assert statement.amount_minor == reference_amount(plan, quantities_micro)


@given(plans, quantities)
def test_every_unit_is_accounted_for_and_the_limit_holds(
    plan: Tier, quantities_micro: list[int]
) -> None:
    """A18, A23."""
    statement = settle_period(pricing(), plan, usage(sum(quantities_micro)))
    (line,) = statement.lines

    waived = statement.waived_grace_units + statement.waived_spending_limit_units
    paid_by_base = statement.used_units - waived - statement.overage_units
    assert paid_by_base >= 0
    if statement.included_units is not None:
        assert paid_by_base <= statement.included_units
    assert statement.amount_minor == plan.base_price_minor + line.amount_minor
    assert line.amount_minor == line.billable_units * line.unit_price_minor
    assert line.formula.endswith(f"= {line.amount_minor}")
    if (
        plan.spending_limited
        and plan.total_cap_micro is not UNLIMITED
        and plan.included_micro is not UNLIMITED
    ):
        overage_max = max(0, (plan.total_cap_micro - plan.included_micro) // MICRO)
        assert line.billable_units <= overage_max


@given(plans, st.integers(0, 100 * MICRO), st.integers(0, 10 * MICRO))
def test_more_usage_never_costs_less(plan: Tier, sum_micro: int, more_micro: int) -> None:
    less = settle_period(pricing(), plan, usage(sum_micro))
    more = settle_period(pricing(), plan, usage(sum_micro + more_micro))

    assert less.amount_minor <= more.amount_minor
