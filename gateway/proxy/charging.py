"""Step 5: all policies of the request in one atomic step, or what the route does without a store.

Source: design sections 3 (step 5), 4, 6 and 7; requirements N1, N5, C11.
"""

from typing import Final

from gateway.config.snapshot import FailurePolicy
from gateway.errors import Refusal, RefusalCode, StoreUnavailable
from gateway.proxy.active import RoutePlan
from gateway.proxy.books import Draft
from gateway.proxy.caller import Standing, open_standing, remembered_refusal, standing_of
from gateway.proxy.ports import Ports
from gateway.rules.charge import Charge, Counts, StaleTemplate
from gateway.rules.charging import amounts, local_share, run_key
from gateway.rules.decision import (
    alerting,
    is_within_limits,
    remember_refusal_until_micro,
    violations_of,
)
from gateway.rules.units import MICRO

STALE_ATTEMPTS: Final = 3
"""A period can end between planning and charging; twice in a row means that clocks are broken."""

OVERAGES_TOLD_MAX: Final = 50_000
"""So many counters that are above their quotas a worker remembers to have told of."""


async def charge(draft: Draft, plan: RoutePlan, ports: Ports) -> bool:
    """Count the request against all its policies; return whether it goes on.

    False stands for a refusal that is repeated: ``draft.refusal`` says it again. To raise it would
    cost as much as the rest of the decision.

    Raises:
        Refusal: a blocking policy would be passed; every violated one is named.
        StoreUnavailable: the store is away and the route fails closed, or its share is used up.
    """
    if draft.caller is None and (not plan.route.own_limits or draft.active.pricing is None):
        return True
    counters = ports.counters
    at_micro = counters.now_micro()
    for _ in range(STALE_ATTEMPTS):
        standing = draft.standing = _stand(draft, plan, at_micro)
        request = draft.charge = _plan_charge(draft, standing)
        if not standing.template.entries and request.run_key is None:
            draft.charge = draft.standing = None
            return True
        remembered = remembered_refusal(standing, request, at_micro)
        if remembered is not None:
            ports.stats.store.refused_locally += 1
            draft.is_remembered = True
            return _decide(draft, standing, request, remembered, ports)
        try:
            counts = await counters.charge(request)
        except StaleTemplate as stale:  # a period ended meanwhile
            at_micro = _at_another_time(draft, plan, ports, stale)
            continue
        except StoreUnavailable:
            if plan.route.on_store_failure is FailurePolicy.CLOSED:
                draft.charge = draft.standing = None
                raise
            return await _charge_share(draft, plan, ports)
        return _decide(draft, standing, request, counts, ports)
    raise StoreUnavailable("counters.clock", "the store's clock jumps")


def _decide(
    draft: Draft, standing: Standing, charged: Charge, counts: Counts, ports: Ports
) -> bool:
    """Return whether a request goes on; raise or repeat its refusal if not."""
    draft.counts = counts
    if not (draft.is_remembered or draft.unenforced):  # else the store did not decide
        ports.stats.store.charges += 1
        ports.stats.store.refused += not counts.admitted
    if counts.admitted:
        draft.is_within_limits = is_within_limits(charged.template, counts.after_micro)
        if not (draft.is_within_limits or draft.unenforced):
            _tell_overage(draft, charged, counts, ports)
        return True
    known = standing.known_refusal
    if draft.is_remembered and known is not None and known.second == counts.now_micro // MICRO:
        draft.refusal = known.refusal
        return False
    if not draft.is_remembered:
        _tell_overage(draft, charged, counts, ports)
    # A repetition must not prolong itself: then the store would not be asked for a month.
    if (
        not draft.is_remembered
        and charged.run_key is None
        and charged.amounts_micro == standing.static_amounts_micro
    ):
        standing.refused = counts
        standing.known_refusal = None
        standing.refused_until_micro = remember_refusal_until_micro(charged, counts)
    raise Refusal(RefusalCode.QUOTA_EXCEEDED, violations=violations_of(charged, counts))


def _tell_overage(draft: Draft, charged: Charge, counts: Counts, ports: Ports) -> None:
    """Tell of each counter above its quota once, whatever brought it there: a settlement may have.

    The names of counters hold their periods.
    """
    if draft.caller is None:
        return
    told = ports.overages_told
    for entry in alerting(charged.template, counts.after_micro):
        if entry.key in told:
            continue
        if len(told) >= OVERAGES_TOLD_MAX:
            del told[next(iter(told))]
        told[entry.key] = None
        ports.overage_entered(draft.caller.entry.workspace_id, entry.ladder.soft.wire)


def _stand(draft: Draft, plan: RoutePlan, at_micro: int) -> Standing:
    address = draft.exchange.origin.address
    if draft.caller is not None:
        return standing_of(draft.caller, plan, at_micro, address)
    assert draft.active.pricing is not None
    return open_standing(plan, draft.active.pricing, at_micro, address)


def _plan_charge(draft: Draft, standing: Standing) -> Charge:
    exchange, caller = draft.exchange, draft.caller
    cost = draft.reserved_micro
    request = Charge(
        standing.template,
        standing.static_amounts_micro
        if cost is standing.static_cost_micro
        else amounts(standing.template, cost),
        exchange.event_id,
    )
    if draft.run_id is not None and caller is not None and draft.answer is None:
        request.run_key = run_key(caller.entry.workspace_id, draft.run_id)
        request.run_expires_at_seconds = (
            draft.now_micro // MICRO + caller.pricing.meter.run_retention_seconds
        )
    return request


def _at_another_time(draft: Draft, plan: RoutePlan, ports: Ports, stale: StaleTemplate) -> int:
    """Forget the periods that a charge was planned for; return the instant to plan it for anew."""
    ports.stats.store.stale_templates += 1
    if draft.caller is not None:  # they may be later ones, if the clock was put back
        draft.caller.standings.pop(plan.route.name, None)
    return stale.now_micro


async def _charge_share(draft: Draft, plan: RoutePlan, ports: Ports) -> bool:
    """Admit within this worker's own share; the quotas are counted when the store returns (N5).

    The store is not asked again: of two late charges of one request one only would be given back.
    """
    percent = draft.active.snapshot.local_share_percent
    at_micro = ports.counters.now_micro()  # it was waited for: a period may have ended
    for _ in range(STALE_ATTEMPTS):
        standing = draft.standing = _stand(draft, plan, at_micro)
        request = draft.charge = _plan_charge(draft, standing)
        template = local_share(standing.template, percent)
        try:
            counts = await ports.local_counters.charge(
                Charge(template, request.amounts_micro, request.hold_id)
            )
        except StaleTemplate as stale:
            at_micro = _at_another_time(draft, plan, ports, stale)
            continue
        if counts.admitted:
            draft.unenforced = True
            return _decide(draft, standing, request, counts, ports)
        draft.charge = draft.standing = None
        raise StoreUnavailable("counters.share_used", "this worker's share is used up")
    draft.charge = draft.standing = None
    raise StoreUnavailable("counters.clock", "the store's clock jumps")
