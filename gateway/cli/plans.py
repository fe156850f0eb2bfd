"""``gateway plans``: what each tier of the pricing file costs and allows."""

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config
from gateway.cli.context import open_desk
from gateway.rules.limits import Ladder
from gateway.rules.plan import Pricing, Tier
from gateway.rules.units import text_from_micro
from gateway.rules.windows import WindowKind

COLUMNS = {
    "plan": "PLAN",
    "base_price": "BASE/MONTH",
    "included": "INCLUDED",
    "overage_price": "OVERAGE/UNIT",
    "quota": "QUOTA",
    "total_cap": "STOPS AT",
    "grace": "GRACE",
    "rates": "RATES",
    "max_execution_seconds": "SECONDS",
    "features": "FEATURES",
}


def show(*, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the plans of the pricing file in force: prices, caps, rates, features."""
    desk = open_desk(config)
    pricing = desk.pricing
    found = [_described(pricing, tier) for tier in pricing.tiers.values()]
    output.rows(found, COLUMNS, as_json=as_json, empty="The pricing file has no plans.")
    if not as_json:
        meter = pricing.meter
        output.note(f"Pricing {pricing.version}; quantities in {meter.name}, per calendar month.")


def _described(pricing: Pricing, tier: Tier) -> dict[str, object]:
    def paid(amount_minor: int) -> str:
        return output.money(pricing.currency, amount_minor)

    return {
        "plan": tier.name,
        "base_price": paid(tier.base_price_minor),
        "base_price_minor": tier.base_price_minor,
        "included": output.cap(tier.included_micro),
        "overage_price": paid(tier.overage_price_minor),
        "overage_price_minor": tier.overage_price_minor,
        "quota": output.cap(tier.quota_micro),
        "total_cap": output.cap(tier.total_cap_micro),
        "grace": text_from_micro(tier.grace.amount_micro),
        "rates": [_rate(ladder) for ladder in tier.ladders.values() if _is_rate(ladder)],
        "limits": [_limit(ladder) for ladder in tier.ladders.values()],
        "max_execution_seconds": tier.max_execution_seconds,
        "max_input_tokens": tier.max_input_tokens,
        "max_output_tokens": tier.max_output_tokens,
        "features": sorted(tier.features),
    }


def _is_rate(ladder: Ladder) -> bool:
    return ladder.window.kind is WindowKind.SECONDS


def _rate(ladder: Ladder) -> str:
    return f"{text_from_micro(ladder.soft.limit_micro)}/{ladder.window.seconds}s"


def _limit(ladder: Ladder) -> dict[str, object]:
    return {
        "limit": ladder.id,
        "policy": ladder.soft.wire,
        "meter": ladder.meter,
        "window": ladder.window.kind.value,
        "window_seconds": ladder.window.seconds or None,
        "scope": ladder.scope.value,
        "quota": text_from_micro(ladder.soft.limit_micro),
        "refuses_above": output.cap(ladder.block_cap_micro),
        "action": ladder.action.value,
    }
