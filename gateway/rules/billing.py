"""The bill of one workspace for one period: what was used, what is waived, what is to be paid.

Pure: the same pricing, plan and usage give the same statement, byte for byte. Quantities are
rounded up to whole units here and nowhere else, once, on the settled total.
Source: design section 5; requirements A6, A17, A18, A22, A23.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import assert_never

from gateway.rules.plan import Aggregation, GracePolicy, Pricing, Tier
from gateway.rules.units import MICRO, UNLIMITED, Cap, ceil_units


class GraceResolution(Enum):
    """How the two bounds of the grace become one."""

    MIN_OF_PERCENT_OR_DC = "min_of_percent_or_dc"
    PERCENT_ONLY = "percent_only"
    DC_ONLY = "dc_only"


@dataclass(frozen=True, slots=True)
class PeriodUsage:
    """What the ledger holds of one workspace, the billed meter and one period: billable events.

    Attributes:
        period: Id of the billing period, ``2026-11``.
        sum_micro: Sum of the charged quantities, corrections included.
        count: Number of billable events.
        max_micro: The largest charged quantity of a single event.
    """

    workspace_id: str
    period: str
    sum_micro: int
    count: int
    max_micro: int


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One metered item of a bill; quantities in whole units, money in minor units.

    Attributes:
        included_units: What the base price pays for, None if that is without limit.
        formula: The computation in words and figures, ending in the amount.
    """

    meter: str
    used_units: int
    included_units: int | None
    billable_units: int
    unit_price_minor: int
    amount_minor: int
    formula: str


@dataclass(frozen=True, slots=True)
class Statement:
    """The bill of one workspace and period; quantities in whole units, money in minor units.

    Attributes:
        used_units: The period's usage as the meter aggregates it, rounded up once.
        included_units: What the base price pays for, None if that is without limit.
        overage_units: What is billed at the overage price.
        waived_grace_units: Inside the grace, not billed (A6).
        waived_spending_limit_units: Above the spending limit, not billed (A23).
        amount_minor: The total. It contains the tax if ``tax_inclusive``, else tax comes on top.
        digest: SHA-256 over the canonical JSON of everything above, lower-case hex.
    """

    workspace_id: str
    period: str
    pricing_version: str
    tier: str
    currency: str
    used_units: int
    included_units: int | None
    overage_units: int
    waived_grace_units: int
    waived_spending_limit_units: int
    base_price_minor: int
    overage_amount_minor: int
    amount_minor: int
    tax_inclusive: bool
    lines: tuple[StatementLine, ...]
    digest: str = ""


@dataclass(frozen=True, slots=True)
class _Settled:
    """Units of one meter after every waiver."""

    used: int
    included: int | None
    waived_grace: int
    waived_spending_limit: int
    overage: int


def grace_units(
    resolution: GraceResolution, *, base_units: int, percent_micro: int, max_units: int
) -> int:
    """Return how many whole units above the total cap are let through.

    Args:
        resolution: Which bound counts.
        base_units: What the percentage is taken of: the total cap, or the overage cap alone.
        percent_micro: Percent in millionths, so that 0.5 % is 500,000 and exact (T8).
        max_units: The absolute bound.
    """
    percent_units = base_units * percent_micro // (100 * MICRO)
    match resolution:
        case GraceResolution.MIN_OF_PERCENT_OR_DC:
            return min(percent_units, max_units)
        case GraceResolution.PERCENT_ONLY:
            return percent_units
        case GraceResolution.DC_ONLY:
            return max_units
        case _:
            assert_never(resolution)


def settle_period(pricing: Pricing, tier: Tier, usage: PeriodUsage) -> Statement:
    """Return the bill of a period.

    Args:
        pricing: The version that was in force in the period.
        tier: The workspace's plan in it.
        usage: The period's billable usage of the billed meter.

    Raises:
        ValueError: a sum, count or peak is negative; the ledger's corrections exceed its charges.
    """
    if min(usage.sum_micro, usage.count, usage.max_micro) < 0:
        raise ValueError(f"usage of {usage.workspace_id} in {usage.period} is below zero: {usage}")
    units = _settle(tier, used_units(pricing.meter.aggregation, usage))
    overage_amount_minor = units.overage * tier.overage_price_minor
    line = StatementLine(
        meter=pricing.meter.name,
        used_units=units.used,
        included_units=units.included,
        billable_units=units.overage,
        unit_price_minor=tier.overage_price_minor,
        amount_minor=overage_amount_minor,
        formula=_formula(units, tier.overage_price_minor, overage_amount_minor),
    )
    statement = Statement(
        workspace_id=usage.workspace_id,
        period=usage.period,
        pricing_version=pricing.version,
        tier=tier.name,
        currency=pricing.currency.code,
        used_units=units.used,
        included_units=units.included,
        overage_units=units.overage,
        waived_grace_units=units.waived_grace,
        waived_spending_limit_units=units.waived_spending_limit,
        base_price_minor=tier.base_price_minor,
        overage_amount_minor=overage_amount_minor,
        amount_minor=tier.base_price_minor + overage_amount_minor,
        tax_inclusive=pricing.currency.tax_inclusive,
        lines=(line,),
    )
    return replace(statement, digest=digest_of(statement))


def used_units(aggregation: Aggregation, usage: PeriodUsage) -> int:
    """Return the period's usage in whole units: the one place that rounds (A17, A22)."""
    match aggregation:
        case Aggregation.SUM:
            return ceil_units(usage.sum_micro)
        case Aggregation.COUNT:
            return usage.count
        case Aggregation.MAX:
            return ceil_units(usage.max_micro)
        case _:
            assert_never(aggregation)


def digest_of(statement: Statement) -> str:
    """Return the statement's fingerprint: SHA-256 of its JSON, keys sorted, without ``digest``."""
    facts = {name: value for name, value in asdict(statement).items() if name != "digest"}
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _settle(tier: Tier, used: int) -> _Settled:
    total_cap = _units(tier.total_cap_micro)
    included = _units(tier.included_micro)
    above_cap = 0 if total_cap is None else max(0, used - total_cap)
    waived_grace = (
        min(above_cap, tier.grace.amount_micro // MICRO)
        if tier.grace.policy is GracePolicy.WAIVE_EXCESS
        else 0
    )
    waived_limit = above_cap - waived_grace if tier.spending_limited else 0
    counted = used - waived_grace - waived_limit
    overage = 0 if included is None else max(0, counted - included)
    return _Settled(used, included, waived_grace, waived_limit, overage)


def _units(cap_micro: Cap) -> int | None:
    return None if cap_micro is UNLIMITED else cap_micro // MICRO


def _formula(units: _Settled, price_minor: int, amount_minor: int) -> str:
    if units.included is None:
        return f"{units.used} used, all included = {amount_minor}"
    waived = "".join(
        f" - {value} waived ({why})"
        for value, why in (
            (units.waived_grace, "grace"),
            (units.waived_spending_limit, "spending limit"),
        )
        if value
    )
    difference = f"{units.used} used{waived} - {units.included} included"
    return f"max(0, {difference}) x {price_minor} = {amount_minor}"
