"""Which routes charge which quota: what the ledger holds of the others is not in its counter.

Source: design section 7.
"""

from dataclasses import dataclass

from gateway.config.snapshot import Snapshot
from gateway.rules.limits import Ladder, LimitKind, Scope


@dataclass(frozen=True, slots=True)
class Quota:
    """A quota and the routes that do not charge it, though they are configured."""

    ladder: Ladder
    free_routes: frozenset[str]


def quotas_of(snapshot: Snapshot, now_micro: int) -> list[Quota]:
    """Return every quota that some route charges. Addresses are not recorded: theirs are lost."""
    pricing = snapshot.pricing_at(now_micro)
    tiers = () if pricing is None else pricing.tiers.values()
    names = frozenset(route.name for route in snapshot.routes)
    found: dict[Ladder, frozenset[str]] = {}
    for tier in tiers:
        for limit_id, ladder in tier.ladders.items():
            charged_by = {route.name for route in snapshot.routes if limit_id in route.limits}
            found[ladder] = found.get(ladder, names) - charged_by
    for route in snapshot.routes:
        for ladder in route.own_limits:
            found[ladder] = found.get(ladder, names) - {route.name}
    return [
        Quota(ladder, free_routes)
        for ladder, free_routes in found.items()
        if ladder.kind is LimitKind.QUOTA and ladder.scope is not Scope.ADDRESS
    ]
