"""What turns the API off: no price list now or ahead, and plans in use that a list lacks."""

from dataclasses import replace

import pytest

from gateway.config.loaded import PricingPlace
from gateway.config.plans_in_use import (
    Placed,
    gap_warnings,
    in_force_faults,
    missing_plans,
    uses_of,
)
from gateway.keys.port import PlanUse, Workspace, WorkspaceStatus
from tests.support.control_fakes import pricing

DAY = 86_400_000_000
NOW = 20_000 * DAY  # 2024-10-04


def placed(
    name: str, begins: int, ends: int | None = None, plans: tuple[str, ...] = ("FREE", "PRO")
) -> Placed:
    """Return a list that is in force between two days, counted from now."""
    known = pricing(name)
    tier = next(iter(known.tiers.values()))
    lists = replace(
        known,
        effective_from_micro=NOW + begins * DAY,
        effective_to_micro=None if ends is None else NOW + ends * DAY,
        tiers={plan: replace(tier, name=plan) for plan in plans},
    )
    return lists, PricingPlace(f"{name}.json", (4, 21), (5, 19), (69, 12))


@pytest.mark.parametrize(
    "lists",
    [
        [placed("a", -5)],
        [placed("a", -5, 1)],
        [placed("a", 0, 1)],  # its first instant is in force
        [placed("a", -9, -5), placed("b", -5)],
    ],
)
def test_a_list_in_force_is_no_fault(lists: list[Placed]) -> None:
    assert in_force_faults(lists, NOW) == []


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        ([placed("a", 2)], "a.json:4:21: effective_from: no price list is in force now"),
        ([placed("a", -9, 0)], "a.json:5:19: effective_to: no price list is in force now"),
        ([placed("a", -9, -5), placed("b", -4, -1)], "b.json:5:19: effective_to"),
        ([placed("a", -9, -5), placed("b", 1)], "b.json:4:21: effective_from"),
    ],
)  # fmt: skip
def test_none_in_force_is_a_fault(lists: list[Placed], told: str) -> None:
    (fault,) = in_force_faults(lists, NOW)

    assert str(fault).startswith(told)


def test_the_instants_are_told() -> None:
    (ahead,), (over,) = (in_force_faults([placed("a", *days)], NOW) for days in ((2,), (-9, 0)))

    assert "(2024-10-04T00:00:00Z): the next one begins at 2024-10-06T00:00:00Z" in ahead.message
    assert "(2024-10-04T00:00:00Z): the last one ended at 2024-10-04T00:00:00Z" in over.message


def test_no_list_at_all_is_told_elsewhere() -> None:
    """The route file names one at least."""
    assert in_force_faults([], NOW) == gap_warnings([], NOW) == []


def test_gaps_ahead_are_warned_of() -> None:
    lists = [placed("o", -9, -8), placed("a", -5, 1), placed("b", 3, 5), placed("c", 5, 9)]

    assert [str(fault).partition(" (")[0] for fault in gap_warnings(lists, NOW)] == [
        (
            "a.json:5:19: effective_to: no price list is in force from 2024-10-05T00:00:00Z to "
            "2024-10-07T00:00:00Z"
        ),
        "c.json:5:19: effective_to: no price list is in force from 2024-10-13T00:00:00Z on",
    ]
    assert gap_warnings([placed("a", -5, 1), placed("b", 1)], NOW) == []


def test_plans_in_use_must_be_in_the_lists_in_force_and_to_come() -> None:
    uses = (PlanUse("PRO", 3, "acme"), PlanUse("FREE", 1, "globex"))
    lists = [
        placed("past", -9, -5, ("OLD",)),
        placed("now", -5, 1, ("FREE", "PRO")),
        placed("next", 1, None, ("FREE", "MAX")),
    ]

    (fault,) = missing_plans(lists, uses, NOW)

    assert str(fault) == (
        "next.json:69:12: tiers: the plan PRO is missing in next, in force from "
        "2024-10-05T00:00:00Z on; in use by the workspace acme and 2 more "
        "(the plan, or these workspaces on one of FREE, MAX)"
    )
    (fault,) = missing_plans([placed("now", -1, None, ("PRO",))], uses, NOW)
    assert "the plan FREE is missing in now; in use by the workspace globex (" in str(fault)
    assert missing_plans(lists[:2], uses, NOW) == []


def test_uses_of_what_is_written_by_hand_count_suspended_ones() -> None:
    written = [
        Workspace("b", "PRO", WorkspaceStatus.SUSPENDED, 0),
        Workspace("a", "PRO", WorkspaceStatus.ACTIVE, 0),
        Workspace("c", "FREE", WorkspaceStatus.ACTIVE, 0),
    ]

    assert uses_of(written) == (PlanUse("FREE", 1, "c"), PlanUse("PRO", 2, "a"))
