"""Whether a request is billed, at what quantity, and what the counters must be told afterwards.

Source: design sections 3 (step 8), 5 and 8; requirements A7, A8, A9, D1.
"""

from dataclasses import dataclass, replace
from typing import Final

from gateway.rules.charge import Charge, CounterDelta
from gateway.rules.charging import amount
from gateway.rules.limits import LimitKind
from gateway.rules.plan import BillingRules
from gateway.rules.record import Outcome, Record

REPEAT: Final = "repeat"
"""The ``reason`` of what is not billed because another try of its run is, or may be."""
ABANDONED: Final = "abandoned"
"""The ``reason`` of what is billed at its reserve: the client left while it was worked on."""

_REFUSED: Final = Outcome.REFUSED
_UPSTREAM_FAILED: Final = Outcome.UPSTREAM_FAILED
_CLIENT_GONE: Final = Outcome.CLIENT_GONE
_STOPPED: Final = Outcome.STOPPED
# Looked up once: a member of an enumeration costs as much as the rest of ``billability``.


@dataclass(slots=True, init=False)
class Settlement:
    """How a request enters the books.

    Attributes:
        quantities_micro: What was used, per meter.
        charged_micro: What is billed of it, per meter.
        deltas: What the quota counters must still be corrected by; of a billable repeat what it
            would have been charged, for the case that no other try is.
        releases_run: The run id may be charged again.
    """

    billable: bool
    reason: str
    quantities_micro: dict[str, int]
    charged_micro: dict[str, int]
    deltas: list[CounterDelta]
    releases_run: bool

    def __init__(
        self,
        billable: bool,  # noqa: FBT001 - parallel to the attributes
        reason: str,
        quantities_micro: dict[str, int],
        charged_micro: dict[str, int],
        deltas: list[CounterDelta],
        releases_run: bool,  # noqa: FBT001
    ) -> None:
        self.billable = billable
        self.reason = reason
        self.quantities_micro = quantities_micro
        self.charged_micro = charged_micro
        self.deltas = deltas
        self.releases_run = releases_run


def billability(
    rules: BillingRules, status: int, outcome: Outcome, *, repeat: bool, abandoned: bool = False
) -> tuple[bool, str]:
    """Return whether a request is billed and the rule that decided.

    Args:
        rules: The pricing file's rules.
        status: The upstream's status; 0 if it never answered.
        outcome: How the request ended.
        repeat: Its run id had been charged before. If it is billable all the same, it claims its
            run: whether another try is billed for it, only the ledger knows.
        abandoned: Its client left what it had asked for before there was an answer, and does not
            get it for free.
    """
    if outcome is _REFUSED:
        return False, "refused"
    if outcome is _UPSTREAM_FAILED:
        return False, "upstream_failed"
    if outcome is _STOPPED:
        return False, "stopped"
    if outcome is _CLIENT_GONE and status == 0:
        if abandoned:
            return True, ABANDONED
        return False, "client_gone"
    if repeat and not rules.is_billable(status):
        return False, REPEAT
    return rules.is_billable(status), rules.reason(status)


def settle(
    charge: Charge | None,
    reserved_micro: dict[str, int],
    actual_micro: dict[str, int],
    *,
    billable: bool,
    reason: str,
    repeat: bool,
    counted: bool,
) -> Settlement:
    """Compare what was charged with what came out.

    Args:
        charge: The charge, None on a route without limits.
        reserved_micro: Cost per meter that was charged.
        actual_micro: Cost per meter as the answer told it; meters missing here stay as reserved.
        billable: See ``billability``.
        reason: See ``billability``.
        repeat: The run had been charged before: its quotas were not counted again. They are owed
            if it is billable, see ``Settlement``.
        counted: Whether the store holds the charge. False when the route failed open: then the
            quotas are still owed and are counted by the correction.
    """
    quantities = {**reserved_micro, **actual_micro} if actual_micro else reserved_micro
    counted = counted and not repeat
    if charge is None or (billable and counted and not actual_micro):
        deltas: list[CounterDelta] = []
    else:
        deltas = _deltas(charge, quantities, billable=billable, counted=counted)
    return Settlement(
        billable=billable,
        reason=reason,
        quantities_micro=quantities,
        charged_micro=quantities if billable else _zeroed(quantities),
        deltas=deltas,
        releases_run=(
            not billable and counted and charge is not None and charge.run_key is not None
        ),
    )


def as_repeat(record: Record) -> Record:
    """Return a record of which another try of its run is billed."""
    return replace(
        record,
        billable=False,
        repeat=True,
        reason=REPEAT,
        charged_micro=_zeroed(record.charged_micro),
    )


def as_billed(claimant: Record) -> Record:
    """Return the record of a repeat that its run is billed by, for no other try is."""
    return replace(
        claimant,
        billable=True,
        repeat=False,
        reason=claimant.claimed_reason,
        charged_micro=claimant.quantities_micro,
    )


def _zeroed(quantities_micro: dict[str, int]) -> dict[str, int]:
    return {meter: 0 for meter in quantities_micro}  # noqa: C420 - compiled, cheaper than fromkeys


def _deltas(
    charge: Charge, quantities_micro: dict[str, int], *, billable: bool, counted: bool
) -> list[CounterDelta]:
    deltas = []
    for entry, charged_micro in zip(charge.template.entries, charge.amounts_micro, strict=True):
        if entry.ladder.kind is LimitKind.RATE:
            continue
        final_micro = amount(entry.ladder, quantities_micro) if billable else 0
        delta_micro = final_micro - (charged_micro if counted else 0)
        if delta_micro:
            deltas.append(CounterDelta(entry.key, delta_micro, entry.expires_at_seconds))
    return deltas
