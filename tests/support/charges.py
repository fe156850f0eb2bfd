"""Charges as short as tests want to write them."""

from itertools import count

from gateway.rules.charge import Charge, ChargeTemplate, Correction, CounterDelta, Entry
from gateway.rules.limits import Ladder, LimitKind, PolicyName, Scope
from gateway.rules.units import MICRO, UNLIMITED, Cap
from gateway.rules.windows import Period, Window, WindowKind

TAG = "ws"
HOUR_MICRO = 3_600 * MICRO

LADDER = Ladder(
    id="test", counter="test", kind=LimitKind.QUOTA, meter="dc",
    window=Window(WindowKind.SECONDS, 7_200), scope=Scope.WORKSPACE, soft=PolicyName("test", 0),
    hard=None, block_cap_micro=UNLIMITED, grace_from_micro=None, retention_seconds=0, alerts=False,
)  # fmt: skip
"""Stores never look at it."""

_numbers = count()


def around(now_micro: int) -> Period:
    """Return a period that holds an hour before and after an instant: no test meets its ends."""
    return Period("p", now_micro - HOUR_MICRO, now_micro + HOUR_MICRO)


def entry(
    name: str,
    period: Period,
    cap: int | None = None,
    *,
    cap_micro: Cap = UNLIMITED,
    expires_at_seconds: int | None = None,
    counts_repeats: bool = False,
    tag: str = TAG,
) -> Entry:
    """Return an entry whose cap is in whole units (or ``cap_micro``)."""
    return Entry(
        key=f"{name}:{{{tag}}}:{period.id}",
        ladder=LADDER,
        period=period,
        cap_micro=cap_micro if cap is None else cap * MICRO,
        expires_at_seconds=(
            period.end_micro // MICRO if expires_at_seconds is None else expires_at_seconds
        ),
        counts_repeats=counts_repeats,
    )


def template(*entries: Entry, tag: str = TAG) -> ChargeTemplate:
    """Return the template of some entries."""
    return ChargeTemplate(tag, entries, min((e.period.end_micro for e in entries), default=0))


def charge(
    charged: ChargeTemplate,
    *amounts_micro: int,
    hold: str = "",
    run: str | None = None,
    run_expires_at_seconds: int = 4_000_000_000,
) -> Charge:
    """Return a charge of one unit per entry unless amounts are given."""
    return Charge(
        charged,
        amounts_micro or (MICRO,) * len(charged.entries),
        hold or f"hold-{next(_numbers)}",
        None if run is None else f"idempotency:{{{charged.tag}}}:{run}",
        run_expires_at_seconds if run is not None else 0,
    )


def giving_back(charged: Charge, *, release_run: bool = False) -> Correction:
    """Return the correction that takes a whole charge back."""
    return Correction(
        charged.template.tag,
        charged.hold_id,
        tuple(
            CounterDelta(e.key, -amount_micro, e.expires_at_seconds)
            for e, amount_micro in zip(charged.template.entries, charged.amounts_micro, strict=True)
        ),
        charged.run_key,
        release_run,
    )
