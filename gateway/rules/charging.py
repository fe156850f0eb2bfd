"""From a caller, a route's limits and a cost to one charge: names of counters, periods, amounts.

Source: design sections 6 and 7; requirements A4 to A7, B5, N1.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, assert_never

from gateway.rules.address_groups import group_of
from gateway.rules.charge import Charge, ChargeTemplate, Entry
from gateway.rules.limits import Action, Ladder, LimitKind, Scope
from gateway.rules.units import MICRO, UNLIMITED
from gateway.rules.windows import NEVER_MICRO, Period, Window, WindowKind, period_at

REQUESTS_METER: Final = "requests"
"""The meter that every request costs one unit of."""

MONTH: Final = WindowKind.CALENDAR_MONTH


def counter_key(
    ladder: Ladder,
    workspace_id: str,
    period: Period,
    *,
    key_id: str = "",
    route: str = "",
    address: str = "",
) -> str:
    """Return the name of a counter; the workspace in braces is its Redis Cluster hash tag."""
    match ladder.scope:
        case Scope.WORKSPACE:
            middle = ""
        case Scope.KEY:
            middle = f"key:{key_id}:"
        case Scope.ROUTE:
            middle = f"route:{route}:"
        case Scope.ADDRESS:
            middle = f"address:{group_of(address, ladder.ipv4_bits, ladder.ipv6_bits)}:"
        case _:
            assert_never(ladder.scope)
    return f"{ladder.counter}:{{{workspace_id}}}:{middle}{period.id}"


def run_key(workspace_id: str, run_id: str) -> str:
    """Return the name of a run's idempotency entry (A7)."""
    return f"idempotency:{{{workspace_id}}}:{run_id}"


def billing_period(timezone: str, at_micro: int) -> str:
    """Return the id of the billing period that contains an instant, e.g. ``2026-11``."""
    return period_at(Window(MONTH, timezone=timezone), at_micro).id


def build_template(
    ladders: Iterable[Ladder],
    workspace_id: str,
    at_micro: int,
    *,
    key_id: str = "",
    route: str = "",
    address: str = "",
) -> ChargeTemplate:
    """Return the counters that requests of this caller on this route charge now.

    A ladder given twice (a quota and its hard cap are one counter) is charged once.
    """
    distinct = dict.fromkeys(ladders)
    entries = tuple(
        _entry(ladder, workspace_id, at_micro, key_id=key_id, route=route, address=address)
        for ladder in distinct
    )
    valid_until_micro = min((entry.period.end_micro for entry in entries), default=NEVER_MICRO)
    return ChargeTemplate(workspace_id, entries, valid_until_micro)


def _entry(
    ladder: Ladder, workspace_id: str, at_micro: int, *, key_id: str, route: str, address: str
) -> Entry:
    period = period_at(ladder.window, at_micro)
    return Entry(
        key=counter_key(ladder, workspace_id, period, key_id=key_id, route=route, address=address),
        ladder=ladder,
        period=period,
        cap_micro=UNLIMITED if ladder.action is Action.WARN else ladder.block_cap_micro,
        expires_at_seconds=period.end_micro // MICRO + ladder.retention_seconds,
        counts_repeats=ladder.kind is LimitKind.RATE,
    )


def amounts(template: ChargeTemplate, cost_micro: dict[str, int]) -> tuple[int, ...]:
    """Return what each counter of the template is to grow by, for a cost per meter."""
    return tuple(amount(entry.ladder, cost_micro) for entry in template.entries)


def amount(ladder: Ladder, cost_micro: dict[str, int]) -> int:
    """Return what one counter grows by."""
    if ladder.meter == REQUESTS_METER:
        return MICRO
    quantity_micro = cost_micro.get(ladder.meter, 0)
    return MICRO if ladder.counts_calls and quantity_micro else quantity_micro


def usable_until_micro(charge: Charge) -> int:
    """Return when the first window ends of the counters in which a reservation stands.

    Not those of calls: they count that it was made, which is over.
    """
    return min(
        (
            entry.period.end_micro
            for entry, amount_micro in zip(
                charge.template.entries, charge.amounts_micro, strict=True
            )
            if amount_micro
            and entry.ladder.meter != REQUESTS_METER
            and not entry.ladder.counts_calls
        ),
        default=NEVER_MICRO,
    )


def local_share(template: ChargeTemplate, percent: int) -> ChargeTemplate:
    """Return the template with every cap cut to the share that one worker may admit alone."""
    return replace(
        template,
        entries=tuple(
            entry
            if entry.cap_micro is UNLIMITED
            else replace(entry, cap_micro=entry.cap_micro * percent // 100)
            for entry in template.entries
        ),
    )
