"""What a pricing file may say, and its author probably did not mean: warned of at every load.

Source: docs/reference/pricing.md; docs/semantics.md.
"""

from gateway.config.json_positions import JsonPath
from gateway.config.pricing_checks import is_unlimited
from gateway.config.pricing_faults import Faults
from gateway.config.pricing_models import GraceFile, PricingFile, TierFile, UnlimitedFile

NOT_ENFORCED = "is not enforced by this version"


def warn(file: PricingFile, warnings: Faults) -> None:
    """Note what contradicts itself, and what is read and does nothing.

    Args:
        file: Passed every check.
        warnings: Collects what is found.
    """
    for index, tier in enumerate(file.tiers):
        path: JsonPath = ("tiers", index)
        _warn_of_quantities(tier, path, file.unlimited_semantics, warnings)
        _warn_of_prices(tier, path, file.unlimited_semantics, warnings)
    _warn_of_grace(file.grace_overage, file, warnings)
    _warn_of_decoration(file, warnings)


def _warn_of_quantities(
    tier: TierFile, path: JsonPath, unlimited: UnlimitedFile, warnings: Faults
) -> None:
    limits, included = tier.limits, tier.included_dc_per_month
    quota = limits.monthly_quota_dc
    if is_unlimited("monthly_quota_dc", quota, unlimited):
        return
    cap = quota + limits.hard_overage_dc_cap
    all_included = is_unlimited("included_dc_per_month", included, unlimited)
    if limits.overage_behavior == "block_on_breach" and included > cap and not all_included:
        warnings.add(
            (*path, "included_dc_per_month"),
            f"{tier.tier} sells {included} units and refuses above {cap}: the rest can't be used",
            f"at most {cap}, or a higher monthly_quota_dc",
        )
    if quota == 0 and cap == 0:
        warnings.add(
            (*path, "limits", "monthly_quota_dc"),
            f"{tier.tier} refuses every request that costs something",
            "a quota, or the field in unlimited_semantics.applies_to_fields",
        )


def _warn_of_prices(
    tier: TierFile, path: JsonPath, unlimited: UnlimitedFile, warnings: Faults
) -> None:
    limits, included, price = tier.limits, tier.included_dc_per_month, tier.overage_price_per_dc
    is_uncapped = is_unlimited("monthly_quota_dc", limits.monthly_quota_dc, unlimited)
    cap = limits.monthly_quota_dc + limits.hard_overage_dc_cap
    all_included = is_unlimited("included_dc_per_month", included, unlimited)
    if price and all_included:
        warnings.add(
            (*path, "overage_price_per_dc"),
            f"nothing of {tier.tier} is ever sold at this price: all units are included",
            "0, or a number of included units",
        )
    elif (
        price
        and not is_uncapped
        and limits.overage_behavior == "block_on_breach"
        and included >= cap
    ):
        warnings.add(
            (*path, "overage_price_per_dc"),
            f"nothing of {tier.tier} is ever sold at this price: it refuses above {cap}, of which "
            f"{included} are included",
            "0, or a higher cap",
        )
    if not price and not all_included and not is_uncapped and included < cap:
        warnings.add(
            (*path, "overage_price_per_dc"),
            f"{cap - included} units of {tier.tier} above the included ones cost nothing",
            "a price, or as many included units as the cap lets through",
        )
    if tier.safety.hard_spending_limit and is_uncapped and price:
        warnings.add(
            (*path, "safety", "hard_spending_limit"),
            f"{tier.tier} has no cap from which a highest bill could be worked out",
            "false, or a finite monthly_quota_dc",
        )


def _warn_of_grace(grace: GraceFile, file: PricingFile, warnings: Faults) -> None:
    if not grace.enabled:
        return
    capped = any(
        tier.limits.hard_overage_dc_cap and tier.limits.overage_behavior == "block_on_breach"
        for tier in file.tiers
    )
    nothing = {
        "min_of_percent_or_dc": not grace.max_grace_percent or not grace.max_grace_dc,
        "percent_only": not grace.max_grace_percent,
        "dc_only": not grace.max_grace_dc,
    }[grace.resolution]
    if not grace.applies_to or nothing or not capped:
        reason = "no tier has a hard overage cap that refuses" if not capped else "it is nothing"
        warnings.add(("grace_overage", "enabled"), f"no tier has any grace: {reason}", "false")


def _warn_of_decoration(file: PricingFile, warnings: Faults) -> None:
    """Name what is read, and does nothing yet: operators must not rely on it."""
    if "abnormal_usage_detected" in file.http.problem_details.type_uris.model_fields_set:
        path: JsonPath = ("http", "problem_details", "type_uris", "abnormal_usage_detected")
        warnings.add(path, f"{path[-1]} {NOT_ENFORCED}: no refusal has this type")
    warnings.add(
        ("tiers", 0, "limits", "max_input_tokens"),
        f"max_input_tokens and max_output_tokens of all tiers: what they say {NOT_ENFORCED}",
        "a limit in limits_extra, or a cost that reads the tokens",
    )
