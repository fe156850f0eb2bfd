"""A charge: all counters of one request, to be added all or nothing.

Source: design sections 6 and 7; requirements A4, A5, A7, N1.
"""

from dataclasses import dataclass, field

from gateway.rules.limits import Ladder
from gateway.rules.units import Cap
from gateway.rules.windows import Period


@dataclass(frozen=True, slots=True)
class Entry:
    """One counter of a charge.

    Attributes:
        key: The counter's full key, hash tag included.
        period: The period that the key belongs to; the store refuses to count outside it.
        cap_micro: Blocking cap; the entry alone refuses the charge when count + amount passes it.
        expires_at_seconds: Unix time at which the store drops the counter.
        counts_repeats: Whether a repeat of a known run id is counted (rates are, quotas are not).
    """

    key: str
    ladder: Ladder
    period: Period
    cap_micro: Cap
    expires_at_seconds: int
    counts_repeats: bool


@dataclass(frozen=True, slots=True)
class ChargeTemplate:
    """The part of a charge that stays the same for a caller on a route until a period ends.

    Made once and kept by the caller's cache entry; adapters may hang a prepared command on it.

    Attributes:
        tag: The hash tag, the workspace id, shared by all keys.
        valid_until_micro: When the first of the periods ends (by the store's clock).
        prepared: What an adapter keeps to charge this template faster; a copy starts without it.
    """

    tag: str
    entries: tuple[Entry, ...]
    valid_until_micro: int
    prepared: dict[object, bytes] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )


@dataclass(slots=True, init=False)
class Charge:
    """One request's charge.

    Attributes:
        amounts_micro: Parallel to ``template.entries``; never negative.
        hold_id: Names this charge: corrections refer to it and are applied once per hold.
        run_key: Full key of the idempotency entry, or None if the caller named no run id.
        run_expires_at_seconds: Unix time at which the run id is forgotten.
    """

    template: ChargeTemplate
    amounts_micro: tuple[int, ...]
    hold_id: str
    run_key: str | None
    run_expires_at_seconds: int

    # Constructors of what every request makes are written out: generated ones can't be compiled.
    def __init__(
        self,
        template: ChargeTemplate,
        amounts_micro: tuple[int, ...],
        hold_id: str,
        run_key: str | None = None,
        run_expires_at_seconds: int = 0,
    ) -> None:
        self.template = template
        self.amounts_micro = amounts_micro
        self.hold_id = hold_id
        self.run_key = run_key
        self.run_expires_at_seconds = run_expires_at_seconds


@dataclass(slots=True, init=False)
class Counts:
    """What the store answered to a charge.

    Attributes:
        admitted: Whether the amounts were added.
        repeat: The run id was charged before; only entries with ``counts_repeats`` were judged and
            added.
        now_micro: The store's clock at that moment.
        after_micro: Per entry the counter's value now (unchanged if refused).
    """

    admitted: bool
    repeat: bool
    now_micro: int
    after_micro: tuple[int, ...]

    def __init__(
        self,
        admitted: bool,  # noqa: FBT001 - parallel to the attributes
        repeat: bool,  # noqa: FBT001
        now_micro: int,
        after_micro: tuple[int, ...],
    ) -> None:
        self.admitted = admitted
        self.repeat = repeat
        self.now_micro = now_micro
        self.after_micro = after_micro


@dataclass(slots=True)
class CounterDelta:
    """One counter's part of a correction; negative gives back."""

    key: str
    delta_micro: int
    expires_at_seconds: int


@dataclass(slots=True)
class Correction:
    """What the store must still be told of a charge; applied once per ``hold_id``.

    Attributes:
        deltas: A negative one is skipped where the counter is gone; a positive one recreates it.
        release_run: The run id may be charged again (the run failed). If another hold has charged
            it meanwhile, nothing is done; if a repeat has claimed it, the repeat's charge takes the
            place of the one that is given back.
        claimed_until_seconds: Unix time at which a run is forgotten that a billable repeat claims;
            0 claims none. ``deltas`` are what the repeat would have been charged: they are added if
            the run is not charged any more, else kept until its charge is given back.
    """

    tag: str
    hold_id: str
    deltas: tuple[CounterDelta, ...]
    run_key: str | None = None
    release_run: bool = False
    claimed_until_seconds: int = 0


class StaleTemplate(Exception):  # noqa: N818 - not a malfunction: a period ended
    """A period of the template does not contain the store's now; build a new one for then."""

    def __init__(self, now_micro: int) -> None:
        super().__init__(now_micro)
        self.now_micro = now_micro
