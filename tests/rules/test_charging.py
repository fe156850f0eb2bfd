"""A4 to A7: names of counters, their expiry, and what a request adds to each."""

import pytest

from gateway.rules.charging import (
    amounts,
    billing_period,
    build_template,
    counter_key,
    local_share,
    run_key,
)
from gateway.rules.limits import Action, LimitKind, Scope
from gateway.rules.units import MICRO, UNLIMITED
from gateway.rules.windows import NEVER_MICRO, Window, WindowKind, period_at
from tests.support.plans import NOW_MICRO, extra, monthly, rpm

NOW_SECONDS = NOW_MICRO // MICRO


def test_rate_counter_lives_as_long_as_its_window() -> None:
    """A4, 0.45: key ``rpm:{workspace}:{window}``, TTL = window."""
    (entry,) = build_template([rpm(600)], "acme", NOW_MICRO + 17 * MICRO).entries

    assert entry.key == f"rpm:{{acme}}:{NOW_SECONDS // 60}"
    assert entry.expires_at_seconds == NOW_SECONDS + 60
    assert entry.counts_repeats


def test_monthly_counter_lives_ninety_days_beyond_its_period() -> None:
    """A5, T6: TTL = end of the period + 90 days, whenever it is written."""
    (entry,) = build_template([monthly(2000)], "acme", NOW_MICRO).entries

    assert entry.key == "usage:{acme}:2026-11"
    december = 1_796_083_200
    assert entry.expires_at_seconds == december + 90 * 86_400
    assert not entry.counts_repeats


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope.WORKSPACE, "daily:{acme}:2026-11-20"),
        (Scope.KEY, "daily:{acme}:key:k1:2026-11-20"),
        (Scope.ROUTE, "daily:{acme}:route:runs:2026-11-20"),
        (Scope.ADDRESS, "daily:{acme}:address:192.0.2.1:2026-11-20"),
    ],
)
def test_every_scope_has_counters_of_its_own_in_the_workspaces_slot(
    scope: Scope, expected: str
) -> None:
    """B5."""
    ladder = extra("daily", 5, Window(WindowKind.DAY), scope=scope)

    key = counter_key(
        ladder, "acme", period_at(ladder.window, NOW_MICRO),
        key_id="k1", route="runs", address="192.0.2.1",
    )  # fmt: skip

    assert key == expected


def test_quota_and_its_hard_cap_are_one_counter() -> None:
    ladder = monthly(2000, overage=1000)

    assert len(build_template([ladder, ladder], "acme", NOW_MICRO).entries) == 1


def test_template_holds_until_its_first_period_ends() -> None:
    template = build_template([monthly(1), rpm(1)], "acme", NOW_MICRO + MICRO)

    assert template.valid_until_micro == NOW_MICRO + 60 * MICRO
    assert build_template([], "acme", NOW_MICRO).valid_until_micro == NEVER_MICRO


def test_request_costs_one_call_and_its_quantity() -> None:
    template = build_template([rpm(1), monthly(1)], "acme", NOW_MICRO)

    assert amounts(template, {"dc": 2_500_000}) == (MICRO, 2_500_000)
    assert amounts(template, {}) == (MICRO, 0)


def test_counting_meter_adds_one_per_call_whatever_its_size() -> None:
    """A22: aggregation ``count``."""
    template = build_template([monthly(5, counts_calls=True)], "acme", NOW_MICRO)

    assert amounts(template, {"dc": 40 * MICRO}) == (MICRO,)
    assert amounts(template, {"dc": 0}) == (0,)


def test_warning_limit_never_blocks() -> None:
    ladder = extra("soft", 1, Window(WindowKind.DAY), action=Action.WARN)

    (entry,) = build_template([ladder], "acme", NOW_MICRO).entries

    assert entry.cap_micro is UNLIMITED


def test_local_share_cuts_every_cap() -> None:
    """N5."""
    template = build_template([rpm(600), monthly(7, notify_only=True)], "acme", NOW_MICRO)

    shared = local_share(template, 10)

    assert [entry.cap_micro for entry in shared.entries] == [60 * MICRO, UNLIMITED]


def test_run_key_is_scoped_to_the_workspace() -> None:
    """A7, 0.47."""
    assert run_key("acme", "r-1") == "idempotency:{acme}:r-1"


def test_billing_period_follows_the_files_zone() -> None:
    """T23: one zone decides day and month alike."""
    last_evening_utc = 1_796_083_200 * MICRO - 1

    assert billing_period("UTC", last_evening_utc) == "2026-11"
    assert billing_period("Asia/Seoul", last_evening_utc) == "2026-12"
    day = Window(WindowKind.DAY, timezone="Asia/Seoul")
    assert period_at(day, last_evening_utc).id == "2026-12-01"
    assert LimitKind.QUOTA.value == "quota"
