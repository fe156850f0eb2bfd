"""What the counts of a charge mean: flags when it passed, violations when it did not.

Source: design sections 5, 6 and 9; requirements A6, A10, A11, N1, N6.
"""

from dataclasses import dataclass
from typing import Final

from gateway.rules.charge import Charge, ChargeTemplate, Counts, Entry
from gateway.rules.limits import Action, LimitKind
from gateway.rules.units import MICRO, UNLIMITED, ceil_units
from gateway.rules.windows import NEVER_MICRO, WindowKind

REFUSAL_MEMORY_MICRO: Final = MICRO
"""How long a worker trusts its own memory of counters that other workers may change."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One policy that a refused request violates.

    Attributes:
        current: The value, in units, that would have been reached.
        window_seconds: Length of a fixed window, None for calendar periods.
        passes_at_micro: When the same request could pass this policy; None if it never can.
        passes_in_seconds: How long that is from now.
        overage: Units that a hard cap allows above the quota below it; None for a soft policy.
    """

    policy: str
    limit: int
    current: int
    window_seconds: int | None
    passes_at_micro: int | None
    passes_in_seconds: int | None
    kind: LimitKind
    ladder: str
    meter: str
    overage: int | None


def seconds_until(end_micro: int, now_micro: int) -> int:
    """Return whole seconds until an instant, rounded up, at least 1."""
    return max(1, -((now_micro - end_micro) // MICRO))


def is_within_limits(template: ChargeTemplate, after_micro: tuple[int, ...]) -> bool:
    """Return whether no counter passed its advertised limit: then there is nothing to flag."""
    entries = template.entries
    for index, count_micro in enumerate(after_micro):
        if count_micro > entries[index].ladder.soft.limit_micro:
            return False
    return True


def flags_of(charge: Charge, counts: Counts) -> list[str]:
    """Return an admitted charge's flags: ``overage``, ``grace``, ``warn:<name>``.

    Only of the counters that it added to: not of others' usage.
    """
    flags: list[str] = []
    for entry, amount_micro, after_micro in zip(
        charge.template.entries, charge.amounts_micro, counts.after_micro, strict=True
    ):
        ladder = entry.ladder
        if after_micro <= ladder.soft.limit_micro or not amount_micro:
            continue
        if counts.repeat and not entry.counts_repeats:
            continue
        if ladder.action is Action.WARN:
            flags.append(f"warn:{ladder.soft.wire}")
            continue
        flags.append("overage")
        if ladder.grace_from_micro is not None and after_micro > ladder.grace_from_micro:
            flags.append("grace")
    return flags


def alerting(template: ChargeTemplate, after_micro: tuple[int, ...]) -> list[Entry]:
    """Return the counters above a quota of which the operator wants to be told."""
    entries = template.entries
    return [
        entries[index]
        for index, count_micro in enumerate(after_micro)
        if entries[index].ladder.alerts and count_micro > entries[index].ladder.soft.limit_micro
    ]


def violations_of(charge: Charge, counts: Counts) -> list[Violation]:
    """Return every policy that a refused charge violates, not just the first (N1)."""
    return [
        _violation(entry, amount_micro, after_micro, counts.now_micro)
        for entry, amount_micro, after_micro in zip(
            charge.template.entries, charge.amounts_micro, counts.after_micro, strict=True
        )
        if would_refuse(entry, amount_micro, after_micro)
        and (not counts.repeat or entry.counts_repeats)
    ]


def renews_at_micro(violations: list[Violation]) -> int | None:
    """Return when the last of the violated limits begins anew; None if waiting does not help."""
    ends_micro = [violation.passes_at_micro for violation in violations]
    if not ends_micro or None in ends_micro:
        return None
    return max(end_micro for end_micro in ends_micro if end_micro is not None)


def would_refuse(entry: Entry, amount_micro: int, count_micro: int) -> bool:
    """Return whether this counter alone refuses a further amount."""
    return (
        entry.cap_micro is not UNLIMITED
        and amount_micro > 0
        and count_micro + amount_micro > entry.cap_micro
    )


def _violation(entry: Entry, amount_micro: int, count_micro: int, now_micro: int) -> Violation:
    ladder = entry.ladder
    policy = ladder.hard or ladder.soft
    fits_an_empty_period = entry.cap_micro is UNLIMITED or amount_micro <= entry.cap_micro
    end_micro = entry.period.end_micro
    can_pass = fits_an_empty_period and end_micro < NEVER_MICRO
    return Violation(
        policy=policy.wire,
        limit=policy.limit_micro // MICRO,
        current=ceil_units(count_micro + amount_micro),
        window_seconds=(
            ladder.window.seconds if ladder.window.kind is WindowKind.SECONDS else None
        ),
        passes_at_micro=end_micro if can_pass else None,
        passes_in_seconds=seconds_until(end_micro, now_micro) if can_pass else None,
        kind=ladder.kind,
        ladder=ladder.id,
        meter=ladder.meter,
        overage=(
            (ladder.hard.limit_micro - ladder.soft.limit_micro) // MICRO if ladder.hard else None
        ),
    )


def retry_after_seconds(violations: list[Violation]) -> int | None:
    """Return when the same request could pass all policies, None if it never can."""
    waits = [violation.passes_in_seconds for violation in violations]
    if not waits or None in waits:
        return None
    return max(wait for wait in waits if wait is not None)


def remember_refusal_until_micro(charge: Charge, counts: Counts) -> int:
    """Return until when (store's clock) a refusal may be repeated without asking the store.

    A fixed rate window can't un-exhaust by itself; a quota can be refunded, so it is trusted
    briefly. So is a rate beside other limits: others use those up or give back to them meanwhile,
    and all of them are told in a refusal.
    """
    entries = charge.template.entries
    end_micro = charge.template.valid_until_micro
    if len(entries) == 1 and entries[0].ladder.kind is LimitKind.RATE:
        return end_micro
    return min(end_micro, counts.now_micro + REFUSAL_MEMORY_MICRO)
