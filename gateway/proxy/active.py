"""What is in force now: the snapshot with everything the data plane derives from it once.

Made anew on reload and when a pricing version begins; requests hold the one they started with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.config.snapshot import CostSource, LegacyFields, Matcher, Route, RunIdReading, Snapshot
from gateway.http.fields import GATEWAY_OWNED_REQUEST, HOP_BY_HOP, with_aliases
from gateway.http.problems import RepeatedProblem
from gateway.proxy.pool import UpstreamPool, Upstreams
from gateway.rules.plan import Pricing
from gateway.rules.windows import Window, WindowKind, period_at

RATELIMIT_FIELDS: Final = frozenset({b"ratelimit", b"ratelimit-policy"})
_ALWAYS_READ: Final = frozenset(
    {
        b"host", b"connection", b"content-length", b"transfer-encoding", b"expect", b"upgrade",
        b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto", b"te", b"authorization",
        b"max-forwards",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class RoutePlan:
    """What never changes between two requests of a route.

    Attributes:
        places: Where the key may stand: (field name, whether as ``Bearer``).
        dropped: Request fields that are not sent upstream, the key's included.
        added: Whole lines for the upstream in the place of some that are dropped.
        dropped_but_authorization: The same without ``Authorization``, for other schemes.
        trailers_dropped: Request trailers that are not sent on, beside those that never are: a key
            is none even where its field is forwarded.
        via: Name of the gateway in ``Via``.
        static_cost_micro: The cost if it is the same for every request, else None.
        settled_meters: Of how many meters the answer tells the actual cost.
        settles_from_body: Whether it tells any in its body, which must not be encoded then.
        response_dropped: Answer fields that are not passed on.
        run_id: How the route names its runs.
        legacy: Which ``X-RateLimit-*`` triple to add, None for none.
    """

    route: Route
    pool: UpstreamPool
    places: tuple[tuple[bytes, bool], ...]
    dropped: frozenset[bytes]
    dropped_but_authorization: frozenset[bytes]
    trailers_dropped: frozenset[bytes]
    via: bytes
    added: bytes
    static_cost_micro: dict[str, int] | None
    settled_meters: int
    settles_from_body: bool
    response_dropped: frozenset[bytes]
    legacy: str | None
    run_id: RunIdReading | None


@dataclass(slots=True, eq=False)
class Active:
    """A snapshot in force.

    Attributes:
        special: Request fields that are looked at, lower case.
        secret: Those of them that may hold a key.
        pricing: The version in force, None if the file leaves a gap.
        period: Billing period's id.
        valid_from_micro: Since when pricing and period have been these.
        valid_until_micro: When they must be looked up again.
        problems: By code, of refusals that say nothing of the caller; rendered when first needed.
    """

    snapshot: Snapshot
    matcher: Matcher
    plans: dict[str, RoutePlan]
    special: frozenset[bytes]
    secret: frozenset[bytes]
    pricing: Pricing | None
    period: str
    valid_from_micro: int
    valid_until_micro: int
    problems: dict[str, RepeatedProblem] = field(default_factory=dict)


def activate(snapshot: Snapshot, upstreams: Upstreams, now_micro: int) -> Active:
    """Return a snapshot made ready for requests at an instant."""
    pricing = snapshot.pricing_at(now_micro)
    zone = pricing.timezone if pricing else "UTC"
    month = period_at(Window(WindowKind.CALENDAR_MONTH, timezone=zone), now_micro)
    changes = _changes_micro(snapshot.pricings)
    # Most routes drop the same fields: sets of their own would take 10 KB a route.
    shared: dict[frozenset[bytes], frozenset[bytes]] = {}
    return Active(
        snapshot=snapshot,
        matcher=snapshot.matcher,
        plans={route.name: _plan(route, snapshot, upstreams, shared) for route in snapshot.routes},
        special=_ALWAYS_READ.union(*map(_fields_read, snapshot.routes)),
        secret=frozenset(place.header for route in snapshot.routes for place in route.auth.places),
        pricing=pricing,
        period=month.id,
        valid_from_micro=max([month.start_micro, *(at for at in changes if at <= now_micro)]),
        valid_until_micro=min([month.end_micro, *(at for at in changes if at > now_micro)]),
    )


def _plan(
    route: Route,
    snapshot: Snapshot,
    upstreams: Upstreams,
    shared: dict[frozenset[bytes], frozenset[bytes]],
) -> RoutePlan:
    dropped = HOP_BY_HOP | GATEWAY_OWNED_REQUEST | snapshot.identity_fields | {b"host"}
    if not route.auth.forward_key:
        dropped |= {place.header for place in route.auth.places}
    settled = [cost.settle.source for cost in route.cost if cost.settle is not None]
    settles_from_body = CostSource.JSON in settled
    if settles_from_body:  # the caller must not be able to make the answer unreadable
        dropped |= {b"accept-encoding", b"range", b"if-range"}
    dropped = _one(with_aliases(dropped), shared)
    bearer = any(place.bearer for place in route.auth.places)
    static = all(cost.reserve.source is CostSource.STATIC for cost in route.cost)
    return RoutePlan(
        route=route,
        pool=upstreams.pool(route.upstream),
        places=tuple((place.header, place.bearer) for place in route.auth.places),
        dropped=dropped,
        dropped_but_authorization=(
            _one(dropped - {b"authorization"}, shared) if bearer else dropped
        ),
        trailers_dropped=_one(dropped | {place.header for place in route.auth.places}, shared),
        via=snapshot.via,
        added=b"Accept-Encoding: identity\r\n" if settles_from_body else b"",
        static_cost_micro=(
            {cost.meter: cost.reserve.default_micro or 0 for cost in route.cost} if static else None
        ),
        settled_meters=len(settled),
        settles_from_body=settles_from_body,
        response_dropped=_one(
            HOP_BY_HOP
            | {b"x-request-id"}
            | (RATELIMIT_FIELDS if route.replace_upstream_ratelimit else frozenset()),
            shared,
        ),
        run_id=route.run_id,
        legacy=None if route.legacy_fields is LegacyFields.OFF else route.legacy_fields.value,
    )


def _one(
    names: frozenset[bytes], shared: dict[frozenset[bytes], frozenset[bytes]]
) -> frozenset[bytes]:
    """Return the set that equals this one and was made first."""
    return shared.setdefault(names, names)


def _fields_read(route: Route) -> frozenset[bytes]:
    names = {place.header for place in route.auth.places}
    names |= {cost.reserve.header for cost in route.cost if cost.reserve.header}
    if route.run_id is not None and route.run_id.header:
        names.add(route.run_id.header)
    return frozenset(names)


def _changes_micro(pricings: Sequence[Pricing]) -> list[int]:
    """Return the instants at which one pricing follows another."""
    return [
        instant
        for pricing in pricings
        for instant in (pricing.effective_from_micro, pricing.effective_to_micro)
        if instant is not None
    ]
