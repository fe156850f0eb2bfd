"""Usage and bills come from the ledger and the pricing file alone (A3, A17, A18, A22, A23)."""

from dataclasses import replace

import pytest

from gateway.control.statements import (
    current_period,
    month_of,
    pricing_now,
    statement_of,
    usage_of,
)
from gateway.control.workspaces import change_workspace, create_workspace
from gateway.errors import GatewayError
from gateway.ledger.port import UsageRow
from gateway.ledger.rollups import SUM_MAX_MICRO
from gateway.rules.billing import Statement
from gateway.rules.units import MICRO
from tests.support.control_fakes import (
    MemoryLedger,
    MemoryRegistry,
    pricing,
    snapshot,
)
from tests.support.fake_clock import FakeClock
from tests.support.plans import NOW_MICRO

DECEMBER_MICRO = 1_796_083_200 * MICRO


def row(charged: int, *, meter: str = "dc", workspace: str = "acme") -> UsageRow:
    return UsageRow(workspace, meter, "2026-11", 10, 9, 1, 0, charged * MICRO, 7 * MICRO)


@pytest.fixture
def registry() -> MemoryRegistry:
    clock = FakeClock(NOW_MICRO)
    registry = MemoryRegistry(clock)
    create_workspace(registry, pricing(), clock, workspace_id="acme", plan="STARTER")
    return registry


def test_a_starter_at_the_spending_limit_pays_107000(registry: MemoryRegistry) -> None:
    """A18, A23: 29,000 + 2,000 x 39, and never more."""
    ledger = MemoryLedger([row(3_020), row(5, meter="tokens"), row(9, workspace="other")])

    bill = statement_of(
        registry, ledger, snapshot(), FakeClock(NOW_MICRO), workspace_id="acme", period_id="2026-11"
    )

    assert bill.statement.amount_minor == 107_000
    assert bill.statement.waived_grace_units == 20
    assert not bill.is_final


def test_a_period_without_usage_costs_the_base_price(registry: MemoryRegistry) -> None:
    clock = FakeClock(DECEMBER_MICRO)

    bill = statement_of(
        registry, MemoryLedger(), snapshot(), clock, workspace_id="acme", period_id="2026-11"
    )

    assert bill.statement.amount_minor == 29_000
    assert bill.is_final


def test_a_final_bill_stays_what_it_is_when_the_plan_changes_later(
    registry: MemoryRegistry,
) -> None:
    """A17: the plan is that of the month's last instant, whatever it is when one asks."""
    ledger = MemoryLedger([row(1_500)])
    registry.clock = clock = FakeClock(DECEMBER_MICRO)

    def bill() -> Statement:
        return statement_of(
            registry, ledger, snapshot(), clock, workspace_id="acme", period_id="2026-11"
        ).statement

    before = bill()
    change_workspace(registry, pricing(), "acme", plan="SANDBOX")

    assert bill() == before
    assert before.amount_minor == 29_000 + 500 * 39


def test_a_month_before_the_workspace_is_not_billed(registry: MemoryRegistry) -> None:
    """Unless it was used: then its keys were kept elsewhere, and it has one plan that is known."""
    clock = FakeClock(DECEMBER_MICRO)
    asked = {"workspace_id": "acme", "period_id": "2026-10"}
    with pytest.raises(GatewayError) as caught:
        statement_of(registry, MemoryLedger(), snapshot(), clock, **asked)
    assert caught.value.code == "period.before_workspace"

    used = MemoryLedger([replace(row(1_500), bucket="2026-10")])
    bill = statement_of(registry, used, snapshot(), clock, **asked)

    assert bill.statement.amount_minor == 29_000 + 500 * 39


def test_a_bill_is_made_by_the_price_list_in_force_at_the_periods_end(
    registry: MemoryRegistry,
) -> None:
    """A3: a second version takes over at its effective_from, not for the past."""
    both = snapshot(pricings=(pricing("v1"), pricing("v2", effective_from_micro=DECEMBER_MICRO)))
    clock = FakeClock(DECEMBER_MICRO + 1)

    versions = [
        statement_of(
            registry, MemoryLedger(), both, clock, workspace_id="acme", period_id=period
        ).statement.pricing_version
        for period in ("2026-11", "2026-12")
    ]

    assert versions == ["v1", "v2"]


def test_a_later_price_list_in_a_zone_further_west_does_not_hide_the_month_that_runs(
    registry: MemoryRegistry,
) -> None:
    """In Seoul it is December, in UTC it is not yet."""
    seoul = replace(pricing("v1"), timezone="Asia/Seoul")
    both = snapshot(
        pricings=(seoul, pricing("v2", effective_from_micro=DECEMBER_MICRO + 31 * 86_400 * MICRO))
    )
    clock = FakeClock(DECEMBER_MICRO - 3_600 * MICRO)

    bill = statement_of(
        registry, MemoryLedger(), both, clock, workspace_id="acme", period_id="2026-12"
    )

    assert current_period(both, clock) == "2026-12"
    assert bill.statement.pricing_version == "v1"


@pytest.mark.parametrize(
    ("period", "code"),
    [
        ("2026-13", "period.invalid"),
        ("November", "period.invalid"),
        ("1969-12", "period.invalid"),
        ("2100-01", "period.invalid"),
        ("2026-12", "period.in_future"),
        ("2026-01", "pricing.none_in_force"),
    ],
)
def test_a_period_that_can_not_be_billed_is_refused(
    registry: MemoryRegistry, period: str, code: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        statement_of(
            registry,
            MemoryLedger(),
            snapshot(),
            FakeClock(NOW_MICRO),
            workspace_id="acme",
            period_id=period,
        )

    assert caught.value.code == code


def test_a_ledger_below_zero_is_reported_not_billed(registry: MemoryRegistry) -> None:
    with pytest.raises(GatewayError) as caught:
        statement_of(
            registry,
            MemoryLedger([row(-1)]),
            snapshot(),
            FakeClock(NOW_MICRO),
            workspace_id="acme",
            period_id="2026-11",
        )

    assert caught.value.code == "statement.impossible"


def test_a_sum_that_came_to_its_end_is_reported_not_billed(registry: MemoryRegistry) -> None:
    with pytest.raises(GatewayError, match="more than a rollup can hold") as caught:
        statement_of(
            registry,
            MemoryLedger([replace(row(1), charged_micro=SUM_MAX_MICRO)]),
            snapshot(),
            FakeClock(NOW_MICRO),
            workspace_id="acme",
            period_id="2026-11",
        )

    assert caught.value.code == "statement.impossible"


def test_a_month_is_the_calendars_in_the_files_time_zone() -> None:
    seoul = month_of("2026-11", "Asia/Seoul")

    assert seoul.start_micro == (1_793_491_200 - 9 * 3_600) * MICRO
    assert seoul.id == "2026-11"


def test_the_current_period_is_the_clocks(registry: MemoryRegistry) -> None:
    assert current_period(snapshot(), FakeClock(NOW_MICRO)) == "2026-11"


def test_no_price_list_in_force_is_said() -> None:
    with pytest.raises(GatewayError) as caught:
        pricing_now(snapshot(), FakeClock(NOW_MICRO - 365 * 86_400 * MICRO))

    assert caught.value.code == "pricing.none_in_force"


def test_usage_is_of_one_workspace_or_of_all() -> None:
    ledger = MemoryLedger([row(1), row(2, workspace="other")])

    one = usage_of(ledger, workspace_id="acme", period="2026-11", hourly=False)
    everybody = usage_of(ledger, workspace_id=None, period=None, hourly=False)

    assert [entry.workspace_id for entry in one] == ["acme"]
    assert len(everybody) == 2
