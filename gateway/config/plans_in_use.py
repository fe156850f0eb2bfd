"""What would turn the API off: no price list in force, or a plan that workspaces have in none.

Looked at whenever a configuration is to serve: at the start, at a reload, by ``gateway check``.
Source: docs/operations.md, Change the configuration; requirement A3.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from gateway.config.loaded import PricingPlace
from gateway.errors import Fault
from gateway.keys.port import PlanUse, Workspace
from gateway.rules.identifiers import one_of
from gateway.rules.plan import Pricing
from gateway.rules.units import MICRO

Placed = tuple[Pricing, PricingPlace]
_SECOND_MAX: Final = 253_402_300_799
_NEVER: Final = _SECOND_MAX * MICRO
_FROM, _TO, _TIERS = "effective_from", "effective_to", "tiers"


def uses_of(workspaces: Iterable[Workspace]) -> tuple[PlanUse, ...]:
    """Return which plans workspaces have that are written by hand."""
    found: dict[str, list[str]] = {}
    for workspace in workspaces:
        found.setdefault(workspace.plan, []).append(workspace.workspace_id)
    return tuple(PlanUse(plan, len(ids), min(ids)) for plan, ids in sorted(found.items()))


def in_force_faults(lists: Sequence[Placed], now_micro: int) -> list[Fault]:
    """Return a fault if no price list is in force now: every request would be refused."""
    if not lists or any(_is_in_force(pricing, now_micro) for pricing, _ in lists):
        return []
    now = _text(now_micro)
    later = [each for each in lists if each[0].effective_from_micro > now_micro]
    expected = "a price list that is in force now; without one every request is refused"
    if later:
        pricing, place = later[0]
        begins = _text(pricing.effective_from_micro)
        message = f"no price list is in force now ({now}): the next one begins at {begins}"
        return [_fault(place, _FROM, message, expected)]
    pricing, place = lists[-1]
    ends = _text(pricing.effective_to_micro or 0)
    message = f"no price list is in force now ({now}): the last one ended at {ends}"
    return [_fault(place, _TO, message, expected)]


def gap_warnings(lists: Sequence[Placed], now_micro: int) -> list[Fault]:
    """Return a warning for each time to come in which no price list is in force."""
    found = []
    ahead = [each for each in lists if (each[0].effective_to_micro or _NEVER) > now_micro]
    for (earlier, place), (following, _) in pairwise(ahead):
        ends, begins = earlier.effective_to_micro, following.effective_from_micro
        if ends is not None and ends < begins:
            message = f"no price list is in force from {_text(ends)} to {_text(begins)}"
            found.append(_fault(place, _TO, message, "every request would be refused meanwhile"))
    if ahead and (ends := ahead[-1][0].effective_to_micro) is not None:
        message = f"no price list is in force from {_text(ends)} on"
        found.append(
            _fault(ahead[-1][1], _TO, message, "every request would be refused; name the next one")
        )
    return found


def missing_plans(lists: Sequence[Placed], uses: Iterable[PlanUse], now_micro: int) -> list[Fault]:
    """Return a fault for each plan in use that a price list in force now or later lacks."""
    found = []
    for pricing, place in lists:
        if (pricing.effective_to_micro or _NEVER) <= now_micro:
            continue
        begins = pricing.effective_from_micro
        when = f", in force from {_text(begins)} on" if begins > now_micro else ""
        for use in uses:
            if use.plan not in pricing.tiers:
                others = f" and {use.workspaces - 1} more" if use.workspaces > 1 else ""
                message = (
                    f"the plan {use.plan} is missing in {pricing.version}{when}; in use by the "
                    f"workspace {use.example}{others}"
                )
                expected = f"the plan, or these workspaces on {one_of(pricing.tiers)}"
                found.append(_fault(place, _TIERS, message, expected))
    return found


def _is_in_force(pricing: Pricing, now_micro: int) -> bool:
    return pricing.effective_from_micro <= now_micro < (pricing.effective_to_micro or _NEVER)


def _fault(place: PricingPlace, member: str, message: str, expected: str) -> Fault:
    line, column = getattr(place, member)
    return Fault(place.file, line, column, member, message, expected)


def _text(at_micro: int) -> str:
    second = min(max(at_micro // MICRO, 0), _SECOND_MAX)
    return f"{datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()}Z"
