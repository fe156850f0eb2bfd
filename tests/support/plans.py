"""Hand-made limits and charges, so that rules are tested without a pricing file."""

from gateway.rules.charge import Charge, ChargeTemplate, Counts
from gateway.rules.charging import amounts, build_template
from gateway.rules.limits import Action, Ladder, LimitKind, PolicyName, Scope
from gateway.rules.plan import AnswerFormat, BillingRules, ViolatedForm
from gateway.rules.units import MICRO, UNLIMITED, Cap
from gateway.rules.windows import Window, WindowKind

QUOTA_EXCEEDED_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"
QUOTA_EXCEEDED_TITLE = "Request cannot be satisfied as assigned quota has been exceeded"
NOW_MICRO = 1_795_132_800 * MICRO
"""2026-11-20T00:00:00Z."""


def rpm(limit: int, *, seconds: int = 60, name: str = "rpm") -> Ladder:
    """Return a rate limit as a tier has it."""
    return Ladder(
        id="rpm",
        counter="rpm",
        kind=LimitKind.RATE,
        meter="requests",
        window=Window(WindowKind.SECONDS, seconds),
        scope=Scope.WORKSPACE,
        soft=PolicyName(name, limit * MICRO),
        hard=None,
        block_cap_micro=limit * MICRO,
        grace_from_micro=None,
        retention_seconds=0,
        alerts=False,
    )


def monthly(
    quota: int,
    *,
    overage: int = 0,
    grace_micro: int = 0,
    notify_only: bool = False,
    timezone: str = "UTC",
    counts_calls: bool = False,
) -> Ladder:
    """Return a monthly quota with its hard cap and grace as a tier has it."""
    total = (quota + overage) * MICRO
    cap: Cap = UNLIMITED if notify_only else total + grace_micro
    return Ladder(
        id="monthly_dc",
        counter="usage",
        kind=LimitKind.QUOTA,
        meter="dc",
        window=Window(WindowKind.CALENDAR_MONTH, timezone=timezone),
        scope=Scope.WORKSPACE,
        soft=PolicyName("monthly_dc", quota * MICRO),
        hard=PolicyName("hard_overage_cap", total) if overage else None,
        block_cap_micro=cap,
        grace_from_micro=total if grace_micro else None,
        retention_seconds=90 * 86_400,
        alerts=True,
        counts_calls=counts_calls,
    )


def extra(
    name: str,
    cap: int,
    window: Window,
    *,
    kind: LimitKind = LimitKind.QUOTA,
    meter: str = "dc",
    scope: Scope = Scope.WORKSPACE,
    action: Action = Action.BLOCK,
) -> Ladder:
    """Return a further limit as ``limits_extra`` makes it."""
    return Ladder(
        id=name,
        counter=name,
        kind=kind,
        meter=meter,
        window=window,
        scope=scope,
        soft=PolicyName(name, cap * MICRO),
        hard=None,
        block_cap_micro=cap * MICRO,
        grace_from_micro=None,
        retention_seconds=0,
        alerts=False,
        action=action,
    )


def charge_of(*ladders: Ladder, dc_micro: int = MICRO, at_micro: int = NOW_MICRO) -> Charge:
    """Return the charge of one request of workspace ``w`` under these limits."""
    template = build_template(ladders, "w", at_micro)
    return Charge(template, amounts(template, {"dc": dc_micro}), "hold")


def counts_of(
    template: ChargeTemplate, *after: int, admitted: bool = True, repeat: bool = False
) -> Counts:
    """Return a store's answer with counters at ``after`` units."""
    assert len(after) == len(template.entries)
    return Counts(admitted, repeat, NOW_MICRO, tuple(value * MICRO for value in after))


ANSWERS = AnswerFormat(
    ratelimit_enabled=True,
    policy_field="RateLimit-Policy",
    limit_field="RateLimit",
    problem_content_type="application/problem+json",
    violated_member="violated-policies",
    violated_form=ViolatedForm.OBJECTS,
    violated_name_member="policy_name",
    retry_after_precedence=True,
    type_reduced_capacity="https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    type_abnormal_usage="https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
)


def _reason(status: int) -> str:
    if 200 <= status < 300:
        return "success"
    if status >= 500:
        return "http_5xx"
    named = {400, 401, 403, 404, 409, 412, 413, 415, 422, 429}
    return f"http_{status}" if status in named else "no_rule"


BILLING = BillingRules(
    billable_status=tuple(200 <= status < 300 or status == 422 for status in range(100, 600)),
    reasons=tuple(_reason(status) for status in range(100, 600)),
    refused_status=429,
    refused_type=QUOTA_EXCEEDED_TYPE,
    refused_title=QUOTA_EXCEEDED_TITLE,
    payment_required_status=402,
)
