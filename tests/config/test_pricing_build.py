"""What the file's figures become: requirements A2, A4 to A8, A12 to A17, A21, A22; T4, T8, T20."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.pricing import load_pricing
from gateway.rules.limits import Action, Ladder, LimitKind, PolicyName, Scope
from gateway.rules.plan import Aggregation, GracePolicy, Pricing, ViolatedForm
from gateway.rules.units import MICRO, UNLIMITED, Cap
from gateway.rules.windows import Window, WindowKind
from tests.support.pricing_files import PRICING_FIXTURE, Document, changed_pricing, tier_of

DAY_SECONDS = 86_400


@pytest.fixture(scope="module")
def pricing() -> Pricing:
    return load_pricing(PRICING_FIXTURE)


def units(cap: Cap) -> int | None:
    return None if cap is UNLIMITED else cap // MICRO


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("SANDBOX", (0, 50, 0, 50, 50, 0, 15, 8_000, 2_000)),
        ("STARTER", (29_000, 1_000, 39, 2_000, 3_000, 30, 30, 16_000, 4_000)),
        ("GROWTH", (149_000, 10_000, 29, 30_000, 50_000, 100, 60, 32_000, 8_000)),
        ("ENTERPRISE", (0, None, 0, None, None, 0, 120, 64_000, 16_000)),
    ],
)
def test_the_four_tiers_have_their_figures(
    pricing: Pricing, name: str, figures: tuple[int | None, ...]
) -> None:
    """A13; items 0.40 to 0.43."""
    tier = pricing.tiers[name]

    assert figures == (
        tier.base_price_minor,
        units(tier.included_micro),
        tier.overage_price_minor,
        units(tier.quota_micro),
        units(tier.total_cap_micro),
        tier.grace.amount_micro // MICRO,
        tier.max_execution_seconds,
        tier.max_input_tokens,
        tier.max_output_tokens,
    )


def test_features_are_those_that_are_true(pricing: Pricing) -> None:
    """A14."""
    assert {name: set(tier.features) for name, tier in pricing.tiers.items()} == {
        "SANDBOX": set(),
        "STARTER": set(),
        "GROWTH": {"replay"},
        "ENTERPRISE": {"replay", "sso", "audit"},
    }


def test_starter_has_a_rate_and_one_counter_for_quota_and_hard_cap(pricing: Pricing) -> None:
    """A4, A5, A6; T4: 2001 to 3030 pass."""
    ladders = pricing.tiers["STARTER"].ladders

    assert list(ladders) == ["rpm", "monthly_dc", "hard_overage_cap"]
    assert ladders["hard_overage_cap"] is ladders["monthly_dc"]
    assert ladders["rpm"] == Ladder(
        id="rpm",
        counter="rpm",
        kind=LimitKind.RATE,
        meter="requests",
        window=Window(WindowKind.SECONDS, seconds=60),
        scope=Scope.WORKSPACE,
        soft=PolicyName("rpm", 600 * MICRO),
        hard=None,
        block_cap_micro=600 * MICRO,
        grace_from_micro=None,
        retention_seconds=0,
        alerts=False,
    )
    assert ladders["monthly_dc"] == Ladder(
        id="monthly_dc",
        counter="usage",
        kind=LimitKind.QUOTA,
        meter="dc",
        window=Window(WindowKind.CALENDAR_MONTH, timezone="UTC"),
        scope=Scope.WORKSPACE,
        soft=PolicyName("monthly_dc", 2_000 * MICRO),
        hard=PolicyName("hard_overage_cap", 3_000 * MICRO),
        block_cap_micro=3_030 * MICRO,
        grace_from_micro=3_000 * MICRO,
        retention_seconds=90 * DAY_SECONDS,
        alerts=True,
    )


def test_a_hard_cap_of_zero_beside_a_quota_is_no_overage_and_no_grace(pricing: Pricing) -> None:
    """A2, T4: SANDBOX refuses the 51st, though zero means unlimited in that field."""
    tier = pricing.tiers["SANDBOX"]
    monthly = tier.ladders["monthly_dc"]

    assert monthly.block_cap_micro == 50 * MICRO
    assert monthly.hard is None
    assert monthly.grace_from_micro is None
    assert tier.ladders["hard_overage_cap"] is monthly


def test_what_is_unlimited_has_no_ladder(pricing: Pricing) -> None:
    """A12, T37."""
    assert pricing.tiers["ENTERPRISE"].ladders == {}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("zero_means", ["custom_or_unlimited", "disabled"])
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("included_dc_per_month", "included_micro"),
        ("monthly_quota_dc", "quota_micro"),
        ("rate_limit_rpm", "rpm"),
    ],
)
def test_zero_is_unlimited_only_where_the_file_says_so(
    tmp_path: Path, field: str, attribute: str, value: int, zero_means: str, listed: bool
) -> None:
    """A2, item 0.39: field x {0, 1} x listed or not x meaning."""

    def change(document: Document) -> None:
        semantics = document["unlimited_semantics"]
        semantics["zero_means"] = zero_means
        if not listed:
            semantics["applies_to_fields"].remove(field)
        tier = tier_of(document, "STARTER")
        tier["limits"]["hard_overage_dc_cap"] = 0
        (tier if field in tier else tier["limits"])[field] = value
        enterprise = tier_of(document, "ENTERPRISE")["limits"]
        enterprise["monthly_quota_dc"] = enterprise["monthly_quota_dc"] or 1

    tier = changed_pricing(tmp_path, change).tiers["STARTER"]
    expected = UNLIMITED if value == 0 and listed and zero_means != "disabled" else value * MICRO

    if attribute == "rpm":
        assert ("rpm" in tier.ladders) == (expected is not UNLIMITED)
        if expected is not UNLIMITED:
            assert tier.ladders["rpm"].block_cap_micro == expected
    else:
        assert getattr(tier, attribute) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 30),
        ({"enabled": False}, 0),
        ({"applies_to": []}, 0),
        ({"max_grace_percent": 0.5}, 15),
        ({"max_grace_percent": 0}, 0),
        ({"max_grace_percent": 100}, 100),
        ({"max_grace_percent": 100, "resolution": "percent_only"}, 3_000),
        ({"max_grace_dc": 29}, 29),
        ({"resolution": "dc_only"}, 100),
        ({"base": "overage_cap"}, 10),
        ({"max_grace_percent": 0.57, "resolution": "percent_only"}, 17),
    ],
)
def test_grace_is_resolved_as_the_file_says(
    tmp_path: Path, changes: dict[str, Any], expected: int
) -> None:
    """A6, T8: 0.5 percent of 3000 is 15, exactly."""
    pricing = changed_pricing(tmp_path, lambda document: document["grace_overage"].update(changes))
    monthly = pricing.tiers["STARTER"].ladders["monthly_dc"]

    assert pricing.tiers["STARTER"].grace.amount_micro == expected * MICRO
    assert monthly.block_cap_micro == (3_000 + expected) * MICRO
    assert monthly.grace_from_micro == (3_000 * MICRO if expected else None)


def test_a_grace_that_only_notifies(tmp_path: Path) -> None:
    pricing = changed_pricing(
        tmp_path, lambda document: document["grace_overage"].update(policy="notify_only")
    )
    assert pricing.tiers["STARTER"].grace.policy is GracePolicy.NOTIFY_ONLY


def test_notify_only_never_refuses(tmp_path: Path) -> None:
    """A16."""

    def change(document: Document) -> None:
        tier_of(document, "STARTER")["limits"]["overage_behavior"] = "notify_only"

    tier = changed_pricing(tmp_path, change).tiers["STARTER"]
    monthly = tier.ladders["monthly_dc"]

    assert monthly.block_cap_micro is UNLIMITED
    assert monthly.grace_from_micro is None
    assert monthly.soft.limit_micro == 2_000 * MICRO
    assert monthly.alerts
    assert tier.total_cap_micro == 3_000 * MICRO
    assert tier.ladders["rpm"].block_cap_micro == 600 * MICRO


def test_safety_switches_alerts_and_the_spending_limit(tmp_path: Path) -> None:
    """A16, A23."""

    def change(document: Document) -> None:
        safety = {"overage_alerts": False, "hard_spending_limit": False}
        tier_of(document, "STARTER")["safety"] = safety

    tiers = changed_pricing(tmp_path, change).tiers

    assert not tiers["STARTER"].ladders["monthly_dc"].alerts
    assert not tiers["STARTER"].overage_alerts
    assert not tiers["STARTER"].spending_limited
    assert tiers["GROWTH"].ladders["monthly_dc"].alerts
    assert tiers["GROWTH"].spending_limited


def test_the_window_is_the_tiers_or_the_default(tmp_path: Path) -> None:
    """Item 0.63."""

    def change(document: Document) -> None:
        document["http"]["ratelimit_headers"]["rate_limit_window_seconds_default"] = 30
        del tier_of(document, "STARTER")["limits"]["rate_limit_window_seconds"]
        tier_of(document, "GROWTH")["limits"]["rate_limit_window_seconds"] = 10

    tiers = changed_pricing(tmp_path, change).tiers

    assert tiers["STARTER"].ladders["rpm"].window.seconds == 30
    assert tiers["GROWTH"].ladders["rpm"].window.seconds == 10
    assert tiers["SANDBOX"].ladders["rpm"].window.seconds == 60


def test_names_on_the_wire_are_the_tiers_or_the_conventions(tmp_path: Path) -> None:
    """A10, item 0.62: the tier's name wins."""

    def change(document: Document) -> None:
        document["http"]["ratelimit_headers"]["policy_name_conventions"] = {"rpm": "burst"}
        tier_of(document, "STARTER")["policies"] = {"monthly_dc_policy_name": "month"}

    tiers = changed_pricing(tmp_path, change).tiers
    starter = tiers["STARTER"].ladders

    assert starter["rpm"].soft.wire == "burst"
    assert starter["monthly_dc"].soft.wire == "month"
    assert starter["monthly_dc"].hard == PolicyName("hard_overage_cap", 3_000 * MICRO)
    assert tiers["GROWTH"].ladders["rpm"].soft.wire == "rpm"


def test_the_next_tier_is_the_files_order_unless_said_otherwise(tmp_path: Path) -> None:
    """B6."""

    def change(document: Document) -> None:
        tier_of(document, "SANDBOX")["next_tier"] = "GROWTH"
        tier_of(document, "STARTER")["next_tier"] = None

    tiers = changed_pricing(tmp_path, change).tiers

    assert [tier.next_tier for tier in tiers.values()] == ["GROWTH", None, "ENTERPRISE", None]
    assert tiers["STARTER"].upgrade_url == "https://api.example/pricing#growth"
    assert tiers["ENTERPRISE"].upgrade_url is None


NOT_BILLABLE = {400, 401, 403, 404, 409, 412, 413, 415, 429, *range(500, 600)}


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_is_billed_as_the_file_says(pricing: Pricing, status: int) -> None:
    """A8, item 0.13."""
    billable = 200 <= status <= 299 or status == 422
    if 200 <= status <= 299:
        reason = "success"
    elif status >= 500:
        reason = "http_5xx"
    elif status in NOT_BILLABLE or status == 422:
        reason = f"http_{status}"
    else:
        reason = "no_rule"

    assert pricing.billing.is_billable(status) is billable
    assert pricing.billing.reason(status) == reason


@pytest.mark.parametrize(
    ("billable", "non_billable", "status", "expected"),
    [
        ({"success": True}, {"http_204": True}, 204, (False, "http_204")),
        ({"success": True}, {"http_2xx": True}, 200, (False, "http_2xx")),
        ({"http_4xx": True}, {"http_404": True}, 404, (False, "http_404")),
        ({"http_4xx": True}, {"http_404": True}, 402, (True, "http_4xx")),
        ({"http_503": True}, {"http_5xx": True}, 503, (True, "http_503")),
        ({"success": False}, {}, 200, (False, "success")),
        ({}, {"http_4xx": True, "http_422": False}, 422, (True, "http_422")),
        ({"http_422": True}, {"http_422": False}, 422, (True, "http_422")),
        ({"http_1xx": True}, {}, 101, (True, "http_1xx")),
        ({}, {}, 200, (False, "no_rule")),
    ],
)
def test_the_finest_rule_wins(
    tmp_path: Path,
    billable: dict[str, bool],
    non_billable: dict[str, bool],
    status: int,
    expected: tuple[bool, str],
) -> None:
    """A8."""
    rules = {"billable": billable, "non_billable": non_billable}
    billing = changed_pricing(tmp_path, lambda file: file["billing_rules"].update(rules)).billing

    assert (billing.is_billable(status), billing.reason(status)) == expected


def test_the_answer_format_is_the_files(tmp_path: Path) -> None:
    """A11, A21; items 0.60, 0.61, 0.69."""

    def change(document: Document) -> None:
        http, billing = document["http"], document["billing_rules"]
        http["ratelimit_headers"] |= {
            "enabled": False,
            "policy_header": "X-Policy",
            "limit_header": "X-Limit",
            "retry_after_precedence": False,
        }
        details = http["problem_details"]
        details["content_type"] = "application/json; charset=utf-8"
        details["type_uris"] = {"abnormal_usage_detected": "urn:abnormal"}
        details["extensions"] = {
            "violated_policies_form": "names",
            "violated_policy_name_member": "policy",
        }
        billing["limit_exceeded_http_status"] = 403
        billing["limit_exceeded_problem"] = {
            "type": "urn:quota",
            "title": "\ud560\ub2f9\ub7c9 \ucd08\uacfc",
            "violated_policies_field": "violated",
        }
        del billing["payment_required_http_status_optional"]

    pricing = changed_pricing(tmp_path, change)
    answers, billing = pricing.answers, pricing.billing

    assert not answers.ratelimit_enabled
    assert (answers.policy_field, answers.limit_field) == ("X-Policy", "X-Limit")
    assert not answers.retry_after_precedence
    assert answers.problem_content_type == "application/json; charset=utf-8"
    assert answers.violated_member == "violated"
    assert answers.violated_form is ViolatedForm.NAMES
    assert answers.violated_name_member == "policy"
    assert answers.type_abnormal_usage == "urn:abnormal"
    assert answers.type_reduced_capacity.endswith("#temporary-reduced-capacity")
    assert (billing.refused_status, billing.refused_type) == (403, "urn:quota")
    assert billing.refused_title == "\ud560\ub2f9\ub7c9 \ucd08\uacfc"
    assert billing.payment_required_status is None


def test_the_meter_is_the_files(pricing: Pricing) -> None:
    """A7, A22, item 0.58: 45 days are 3,888,000 seconds."""
    assert pricing.meter.name == "dc"
    assert pricing.meter.event_name == "decisionproof.dc"
    assert pricing.meter.quantity_field == "dc_amount"
    assert pricing.meter.idempotency_key_field == "run_id"
    assert pricing.meter.run_retention_seconds == 3_888_000
    assert pricing.meter_units == {"requests": "requests", "dc": "dc"}


def test_counting_calls_makes_the_quota_count_calls(tmp_path: Path) -> None:
    """A22, item 0.59."""
    pricing = changed_pricing(tmp_path, lambda file: file["meter"].update(aggregation="count"))

    assert pricing.meter.aggregation is Aggregation.COUNT
    assert pricing.tiers["STARTER"].ladders["monthly_dc"].counts_calls
    assert not pricing.tiers["STARTER"].ladders["rpm"].counts_calls


def test_a_peak_is_accepted_where_nothing_limits_it(tmp_path: Path) -> None:
    """A22: settled right, though it can't be charged against a quota."""

    def change(document: Document) -> None:
        document["meter"]["aggregation"] = "max"
        document["tiers"] = [tier_of(document, "ENTERPRISE")]

    assert changed_pricing(tmp_path, change).meter.aggregation is Aggregation.MAX


def extra(**members: Any) -> Document:
    return {"name": "memories", "kind": "quota", "meter": "memories"} | members


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("seconds(10)", Window(WindowKind.SECONDS, seconds=10, timezone="Asia/Seoul")),
        ("hour", Window(WindowKind.HOUR, timezone="Asia/Seoul")),
        ("day", Window(WindowKind.DAY, timezone="Asia/Seoul")),
        ("calendar_month", Window(WindowKind.CALENDAR_MONTH, timezone="Asia/Seoul")),
        ("none", Window(WindowKind.NONE, timezone="Asia/Seoul")),
    ],
)
def test_extra_limits_have_every_window(tmp_path: Path, window: str, expected: Window) -> None:
    def change(document: Document) -> None:
        document["timezone"] = "Asia/Seoul"
        document["meters"] = {"memories": {"unit": "memories"}}
        tier_of(document, "STARTER")["limits_extra"] = [extra(window=window, cap=5_000)]

    pricing = changed_pricing(tmp_path, change)
    ladder = pricing.tiers["STARTER"].ladders["memories"]

    assert pricing.meter_units["memories"] == "memories"
    assert ladder.window == expected
    assert (ladder.id, ladder.counter, ladder.meter) == ("memories", "memories", "memories")
    assert ladder.soft == PolicyName("memories", 5_000 * MICRO)
    assert ladder.hard is None
    assert ladder.block_cap_micro == 5_000 * MICRO
    assert (ladder.scope, ladder.action) == (Scope.WORKSPACE, Action.BLOCK)


@pytest.mark.parametrize(
    ("window", "days"),
    [("seconds(60)", 0), ("hour", 0), ("seconds(86399)", 0), ("seconds(86400)", 90), ("day", 90),
     ("calendar_month", 90), ("none", 90)],
)  # fmt: skip
def test_counters_of_short_quotas_do_not_outlive_their_periods(
    tmp_path: Path, window: str, days: int
) -> None:
    """Kept for 90 days, those of minutes would be 129,600 for each workspace."""

    def change(document: Document) -> None:
        document["meters"] = {"memories": {"unit": "memories"}}
        tier_of(document, "STARTER")["limits_extra"] = [extra(window=window, cap=1)]

    ladder = changed_pricing(tmp_path, change).tiers["STARTER"].ladders["memories"]

    assert ladder.kind is LimitKind.QUOTA
    assert ladder.retention_seconds == days * DAY_SECONDS


def test_an_extra_limit_may_warn_count_requests_and_be_per_key(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        tier_of(document, "STARTER")["limits_extra"] = [
            extra(
                name="burst",
                kind="rate",
                meter="requests",
                window="seconds(1)",
                cap=10,
                action="warn",
                scope="key",
            )
        ]

    ladder = changed_pricing(tmp_path, change).tiers["STARTER"].ladders["burst"]

    assert ladder.kind is LimitKind.RATE
    assert ladder.action is Action.WARN
    assert ladder.block_cap_micro is UNLIMITED
    assert ladder.soft.limit_micro == 10 * MICRO
    assert ladder.scope is Scope.KEY
    assert ladder.retention_seconds == 0
    assert ladder.alerts


def test_an_extra_limit_without_a_cap_is_no_limit_and_zero_is_zero(tmp_path: Path) -> None:
    """T20: absent is unlimited, not zero; and zero here is the number."""

    def change(document: Document) -> None:
        document["meters"] = {"memories": {"unit": "memories"}}
        tier_of(document, "STARTER")["limits_extra"] = [extra(window="day", cap=None)]
        tier_of(document, "GROWTH")["limits_extra"] = [extra(window="day", cap=0)]

    tiers = changed_pricing(tmp_path, change).tiers

    assert "memories" not in tiers["STARTER"].ladders
    assert tiers["GROWTH"].ladders["memories"].block_cap_micro == 0
