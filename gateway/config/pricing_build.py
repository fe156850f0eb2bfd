"""From the checked models to the rules' own objects: ladders, tiers, billing table, answer format.

Source: design section 5; requirements A2, A4 to A6, A8, A12 to A17, A21, A22.
"""

from gateway.config.pricing_checks import BILLED_METER, is_unlimited, tier_grace_units, wire_names
from gateway.config.pricing_currency import minor_digits
from gateway.config.pricing_models import (
    BillingRulesFile,
    ExtraLimitFile,
    HttpFile,
    PricingFile,
    TierFile,
)
from gateway.config.pricing_values import instant_micro, window_seconds
from gateway.rules.charging import REQUESTS_METER
from gateway.rules.limits import Action, Ladder, LimitKind, PolicyName, Scope
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
from gateway.rules.windows import Window, WindowKind

DAY_SECONDS = 86_400
USAGE_RETENTION_SECONDS = 90 * DAY_SECONDS
"""How long a quota's counter outlives its period, for late settlements (A5).

That of a window shorter than a day does not: nothing reads it any more, and there would be many.
"""

NO_RULE = "no_rule"


def build_pricing(file: PricingFile, unnamed: str) -> Pricing:
    """Return the rules' view of a file that passed every check.

    Args:
        file: The models.
        unnamed: The version of a file that states none.
    """
    names = [tier.tier for tier in file.tiers]
    return Pricing(
        version=file.pricing_version or unnamed,
        effective_from_micro=instant_micro(file.effective_from),
        effective_to_micro=instant_micro(file.effective_to) if file.effective_to else None,
        timezone=file.timezone,
        currency=Currency(
            code=file.currency.code,
            symbol=file.currency.symbol,
            minor_digits=minor_digits(file.currency.code),
            tax_inclusive=file.currency.tax_behavior == "inclusive",
        ),
        meter=Meter(
            name=BILLED_METER,
            event_name=file.meter.event_name,
            quantity_field=file.meter.quantity_field,
            idempotency_key_field=file.meter.idempotency_key_field,
            aggregation=Aggregation(file.meter.aggregation),
            run_retention_seconds=file.meter.idempotency_retention_days * DAY_SECONDS,
        ),
        tiers={
            tier.tier: _tier(tier, file, following)
            for tier, following in zip(file.tiers, [*names[1:], None], strict=True)
        },
        billing=_billing_rules(file.billing_rules),
        answers=_answer_format(file.http, file.billing_rules),
        meter_units={REQUESTS_METER: REQUESTS_METER, BILLED_METER: BILLED_METER}
        | {name: meter.unit for name, meter in file.meters.items()},
    )


def _tier(tier: TierFile, file: PricingFile, following: str | None) -> Tier:
    limits = tier.limits
    quota_micro = _cap("monthly_quota_dc", limits.monthly_quota_dc, file)
    total_cap_micro = (
        UNLIMITED if quota_micro is UNLIMITED else quota_micro + limits.hard_overage_dc_cap * MICRO
    )
    grace_micro = MICRO * tier_grace_units(
        file.grace_overage, quota=limits.monthly_quota_dc, overage=limits.hard_overage_dc_cap
    )
    suggests = "next_tier" in tier.model_fields_set
    return Tier(
        name=tier.tier,
        features=frozenset(name for name, has_it in tier.features.items() if has_it),
        ladders=_ladders(tier, file, grace_micro),
        included_micro=_cap("included_dc_per_month", tier.included_dc_per_month, file),
        quota_micro=quota_micro,
        total_cap_micro=total_cap_micro,
        grace=Grace(grace_micro, GracePolicy(file.grace_overage.policy)),
        base_price_minor=tier.monthly_base_price,
        overage_price_minor=tier.overage_price_per_dc,
        spending_limited=tier.safety.hard_spending_limit,
        overage_alerts=tier.safety.overage_alerts,
        max_execution_seconds=limits.max_execution_seconds,
        max_input_tokens=limits.max_input_tokens,
        max_output_tokens=limits.max_output_tokens,
        next_tier=tier.next_tier if suggests else following,
        upgrade_url=tier.upgrade_url,
    )


def _cap(field: str, value: int, file: PricingFile) -> Cap:
    return UNLIMITED if is_unlimited(field, value, file.unlimited_semantics) else value * MICRO


def _ladders(tier: TierFile, file: PricingFile, grace_micro: int) -> dict[str, Ladder]:
    """Return a tier's ladders by id; what is unlimited has none (A12)."""
    names = wire_names(tier, file.http.ratelimit_headers.policy_name_conventions)
    ladders = {}
    rpm_micro = _cap("rate_limit_rpm", tier.limits.rate_limit_rpm, file)
    if rpm_micro is not UNLIMITED:
        ladders["rpm"] = _rate_ladder(tier, file, PolicyName(names["rpm"], rpm_micro))
    quota_micro = _cap("monthly_quota_dc", tier.limits.monthly_quota_dc, file)
    if quota_micro is not UNLIMITED:
        monthly = _monthly_ladder(
            tier,
            file,
            PolicyName(names["monthly_dc"], quota_micro),
            names["hard_overage_cap"],
            grace_micro,
        )
        ladders |= {"monthly_dc": monthly, "hard_overage_cap": monthly}
    for extra in tier.limits_extra:
        if extra.cap is not None:
            ladders[extra.name] = _extra_ladder(extra, extra.cap * MICRO, tier, file)
    return ladders


def _rate_ladder(tier: TierFile, file: PricingFile, policy: PolicyName) -> Ladder:
    seconds = (
        tier.limits.rate_limit_window_seconds
        or file.http.ratelimit_headers.rate_limit_window_seconds_default
    )
    return Ladder(
        id="rpm",
        counter="rpm",
        kind=LimitKind.RATE,
        meter=REQUESTS_METER,
        window=Window(WindowKind.SECONDS, seconds=seconds),
        scope=Scope.WORKSPACE,
        soft=policy,
        hard=None,
        block_cap_micro=policy.limit_micro,
        grace_from_micro=None,
        retention_seconds=0,
        alerts=False,
    )


def _monthly_ladder(
    tier: TierFile, file: PricingFile, quota: PolicyName, hard_name: str, grace_micro: int
) -> Ladder:
    """Return the one counter behind quota and hard overage cap; grace lies above the cap."""
    overage_micro = tier.limits.hard_overage_dc_cap * MICRO
    total_cap_micro = quota.limit_micro + overage_micro
    blocks = tier.limits.overage_behavior == "block_on_breach"
    return Ladder(
        id="monthly_dc",
        counter="usage",
        kind=LimitKind.QUOTA,
        meter=BILLED_METER,
        window=Window(WindowKind.CALENDAR_MONTH, timezone=file.timezone),
        scope=Scope.WORKSPACE,
        soft=quota,
        hard=PolicyName(hard_name, total_cap_micro) if overage_micro else None,
        block_cap_micro=total_cap_micro + grace_micro if blocks else UNLIMITED,
        grace_from_micro=total_cap_micro if blocks and grace_micro else None,
        retention_seconds=USAGE_RETENTION_SECONDS,
        alerts=tier.safety.overage_alerts,
        counts_calls=_counts_calls(file, BILLED_METER),
    )


def _extra_ladder(
    extra: ExtraLimitFile, cap_micro: int, tier: TierFile, file: PricingFile
) -> Ladder:
    kind, action = LimitKind(extra.kind), Action(extra.action)
    seconds = window_seconds(extra.window)
    window = WindowKind.SECONDS if seconds else WindowKind(extra.window)
    is_short = window is WindowKind.HOUR or 0 < seconds < DAY_SECONDS
    return Ladder(
        id=extra.name,
        counter=extra.name,
        kind=kind,
        meter=extra.meter,
        window=Window(window, seconds=seconds, timezone=file.timezone),
        scope=Scope(extra.scope),
        soft=PolicyName(extra.name, cap_micro),
        hard=None,
        block_cap_micro=cap_micro if action is Action.BLOCK else UNLIMITED,
        grace_from_micro=None,
        retention_seconds=(
            USAGE_RETENTION_SECONDS if kind is LimitKind.QUOTA and not is_short else 0
        ),
        alerts=tier.safety.overage_alerts,
        counts_calls=_counts_calls(file, extra.meter),
        action=action,
    )


def _counts_calls(file: PricingFile, meter: str) -> bool:
    return meter == BILLED_METER and file.meter.aggregation == "count"


def _billing_rules(billing: BillingRulesFile) -> BillingRules:
    # Literally: what is not billable is not billed, and what is "not non-billable" is.
    rules = {rule: not value for rule, value in billing.non_billable.items()} | billing.billable
    decided = [_rule_for(status, rules) for status in range(100, 600)]
    return BillingRules(
        billable_status=tuple(rules.get(rule, False) for rule in decided),
        reasons=tuple(decided),
        refused_status=billing.limit_exceeded_http_status,
        refused_type=billing.limit_exceeded_problem.type,
        refused_title=billing.limit_exceeded_problem.title,
        payment_required_status=billing.payment_required_http_status_optional,
    )


def _rule_for(status: int, rules: dict[str, bool]) -> str:
    """Return the finest rule that names a status (A8)."""
    candidates = [f"http_{status}", f"http_{status // 100}xx"]
    if 200 <= status <= 299:
        candidates.append("success")
    return next((rule for rule in candidates if rule in rules), NO_RULE)


def _answer_format(http: HttpFile, billing: BillingRulesFile) -> AnswerFormat:
    fields, details = http.ratelimit_headers, http.problem_details
    return AnswerFormat(
        ratelimit_enabled=fields.enabled,
        policy_field=fields.policy_header,
        limit_field=fields.limit_header,
        problem_content_type=details.content_type,
        violated_member=billing.limit_exceeded_problem.violated_policies_field,
        violated_form=ViolatedForm(details.extensions.violated_policies_form),
        violated_name_member=details.extensions.violated_policy_name_member,
        retry_after_precedence=fields.retry_after_precedence,
        type_reduced_capacity=details.type_uris.temporary_reduced_capacity,
        type_abnormal_usage=details.type_uris.abnormal_usage_detected,
    )
