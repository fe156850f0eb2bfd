"""Usage and the bill of a workspace for a period, from the ledger.

The bill is made by the price list and the plan in force at the period's end (or now, while it still
runs). Source: requirements A3, A17, A18, A22, A23.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.clock import Clock
from gateway.config.snapshot import Snapshot
from gateway.control.workspaces import find_workspace, tier_of
from gateway.errors import GatewayError
from gateway.keys.port import KeyRegistry
from gateway.ledger.port import Ledger, UsageRow
from gateway.ledger.rollups import SUM_MAX_MICRO
from gateway.rules.billing import PeriodUsage, Statement, settle_period
from gateway.rules.charging import MONTH, billing_period
from gateway.rules.plan import Pricing
from gateway.rules.units import MICRO
from gateway.rules.windows import Period, Window, period_at


@dataclass(frozen=True, slots=True)
class PeriodStatement:
    """A bill and what is needed to show it.

    Attributes:
        is_final: The period has ended; records that still wait in a journal may be missing.
    """

    statement: Statement
    pricing: Pricing
    is_final: bool


def month_of(period_id: str, timezone: str) -> Period:
    """Return the calendar month that an id such as ``2026-11`` names.

    Raises:
        GatewayError: not a month.
    """
    try:
        middle = datetime.strptime(period_id, "%Y-%m").replace(day=15, tzinfo=UTC)
        return period_at(Window(MONTH, timezone=timezone), int(middle.timestamp()) * MICRO)
    except ValueError as error:
        raise GatewayError(
            "period.invalid", f"{period_id!r} is not a period", "write a month as 2026-11"
        ) from error


def pricing_now(snapshot: Snapshot, clock: Clock) -> Pricing:
    """Return the price list in force.

    Raises:
        GatewayError: none is.
    """
    pricing = snapshot.pricing_at(clock.now_micro())
    if pricing is None:
        raise GatewayError(
            "pricing.none_in_force",
            "no pricing version is in force now",
            "check effective_from and effective_to of the pricing files",
        )
    return pricing


def current_period(snapshot: Snapshot, clock: Clock) -> str:
    """Return the id of the billing period that runs now. Raises as ``pricing_now``."""
    return billing_period(pricing_now(snapshot, clock).timezone, clock.now_micro())


def usage_of(
    ledger: Ledger, *, workspace_id: str | None, period: str | None, hourly: bool
) -> Sequence[UsageRow]:
    """Return rollups. Raises ``LedgerUnavailable``."""
    return ledger.usage(workspace_id=workspace_id, period=period, hourly=hourly)


def statement_of(
    registry: KeyRegistry,
    ledger: Ledger,
    snapshot: Snapshot,
    clock: Clock,
    *,
    workspace_id: str,
    period_id: str,
) -> PeriodStatement:
    """Return the bill of one workspace and month.

    Raises:
        GatewayError: no such workspace, plan or period; no price list was in force in it, or the
            workspace was not there yet.
        LedgerUnavailable: the ledger can't be asked.
    """
    workspace = find_workspace(registry, workspace_id)
    now_micro = clock.now_micro()
    pricing, month = _pricing_of(snapshot, period_id, now_micro)
    is_final = month.end_micro <= now_micro
    rows = ledger.usage(workspace_id=workspace_id, period=month.id)
    plan: str | None = workspace.plan
    if is_final:
        plan = registry.plan_at(workspace_id, month.end_micro - 1)
    if plan is None and rows:
        plan = workspace.plan  # its keys were kept elsewhere then, and nobody noted the plan
    if plan is None:
        raise GatewayError(
            "period.before_workspace",
            f"the workspace {workspace_id!r} was not there in {period_id}",
            "choose the month in which it was created, or a later one",
        )
    usage = _billed_usage(rows, pricing, workspace_id, month.id)
    if usage.sum_micro >= SUM_MAX_MICRO:
        told = f"usage of {workspace_id} in {month.id} is more than a rollup can hold"
        raise GatewayError("statement.impossible", told, "add up the ledger's events instead")
    try:
        statement = settle_period(pricing, tier_of(pricing, plan), usage)
    except ValueError as error:
        raise GatewayError(
            "statement.impossible", str(error), "compare the ledger's events with its rollups"
        ) from error
    return PeriodStatement(statement, pricing, is_final=is_final)


def _pricing_of(snapshot: Snapshot, period_id: str, now_micro: int) -> tuple[Pricing, Period]:
    """Return the newest price list in force at the last instant of a month that has passed."""
    has_begun = True
    for pricing in reversed(snapshot.pricings):
        month = month_of(period_id, pricing.timezone)
        if month.start_micro > now_micro:
            has_begun = False  # in this version's time zone
            continue
        last_micro = min(month.end_micro - 1, now_micro)
        if snapshot.pricing_at(last_micro) is pricing:
            return pricing, month
    if not has_begun:
        raise GatewayError(
            "period.in_future", f"the period {period_id} has not begun", "choose a past month"
        )
    raise GatewayError(
        "pricing.none_in_force",
        f"no pricing version was in force at the end of {period_id}",
        "add the pricing file of that time to the route file's list",
    )


def _billed_usage(
    rows: Sequence[UsageRow], pricing: Pricing, workspace_id: str, period: str
) -> PeriodUsage:
    billed = [row for row in rows if row.meter == pricing.meter.name and row.bucket == period]
    return PeriodUsage(
        workspace_id=workspace_id,
        period=period,
        sum_micro=sum(row.charged_micro for row in billed),
        count=sum(row.billable_events for row in billed),
        max_micro=max((row.charged_max_micro for row in billed), default=0),
    )
