"""Who calls, and where the caller stands on a route: made once per key, kept with its entry.

Source: design section 3 (steps 3 to 5) and section 4; requirements A14, B2, C1.
"""

from dataclasses import dataclass, field
from hmac import compare_digest

from gateway.config.snapshot import Route
from gateway.errors import Refusal, RefusalCode
from gateway.http.addresses import address_in
from gateway.http.credentials import REMEMBERED_BYTES_MAX, only_place, read_key
from gateway.http.problems import RepeatedProblem
from gateway.http.ratelimit import RateLimitFields, prepare
from gateway.keys.format import KeyFormat, hash_secret
from gateway.keys.port import KeyEntry, WorkspaceStatus
from gateway.proxy.active import Active, RoutePlan
from gateway.proxy.exchange import Exchange
from gateway.rules.access import is_address_allowed, key_refusal, missing_features
from gateway.rules.address_groups import group_on_open_route
from gateway.rules.charge import Charge, ChargeTemplate, Counts
from gateway.rules.charging import amounts, build_template
from gateway.rules.limits import Ladder, Scope
from gateway.rules.plan import Pricing, Tier


@dataclass(slots=True, eq=False)
class KnownRefusal:
    """A refusal that holds for a caller until the second is over, with the answer to it.

    Attributes:
        second: Of the store's clock; waiting times are told in whole ones.
        lines: The RateLimit fields.
    """

    refusal: Refusal
    second: int
    problem: RepeatedProblem
    lines: bytes


@dataclass(slots=True, eq=False)
class Standing:
    """A caller's counters on a route, in the present periods.

    Attributes:
        static_cost_micro: The route's cost if it never varies.
        static_amounts_micro: What it adds to each counter.
        refused: The last refusal, repeated without asking the store until ``refused_until_micro``.
        known_refusal: What the last such repetition was answered with.
    """

    template: ChargeTemplate
    fields: RateLimitFields
    static_cost_micro: dict[str, int] | None
    static_amounts_micro: tuple[int, ...]
    refused: Counts | None = None
    refused_until_micro: int = 0
    known_refusal: KnownRefusal | None = None


@dataclass(slots=True, eq=False)
class Caller:
    """A key's entry joined with its plan under the configuration in force."""

    entry: KeyEntry
    active: Active
    pricing: Pricing
    tier: Tier
    standings: dict[str, Standing] = field(default_factory=dict)


def entered(entry: KeyEntry | None, active: Active, now_micro: int) -> Caller:
    """Return the caller that a directory's answer stands for.

    Raises:
        Refusal: an unknown, revoked or expired key, or a workspace that may not call.
    """
    if entry is None:
        raise Refusal(RefusalCode.KEY_INVALID)
    if entry.expires_at_micro is not None or entry.revoked_at_micro is not None:
        code = key_refusal(
            now_micro=now_micro,
            expires_at_micro=entry.expires_at_micro,
            revoked_at_micro=entry.revoked_at_micro,
        )
        if code is not None:
            raise Refusal(code)
    caller = entry.compiled
    if isinstance(caller, Caller) and caller.active is active and caller.pricing is active.pricing:
        return caller
    caller = _compile(entry, active)
    entry.compiled = caller
    return caller


def key_hash_of(exchange: Exchange, plan: RoutePlan, key_format: KeyFormat) -> bytes:
    """Return the hash of the key that a request carries.

    A connection that brings the same key again is spared the work.

    Raises:
        Refusal: no key, two, or one that can't be a key.
    """
    client, places = exchange.client, plan.places
    place = only_place(places, exchange.special)
    value = None if place is None else exchange.special[place[0]][0]
    if value is not None and value is client.known_value and place == client.known_place:
        return client.known_hash
    secret = read_key(places, exchange.special)
    if not compare_digest(secret, client.known_secret):
        if not key_format.accepts(secret):
            raise Refusal(RefusalCode.KEY_INVALID)
        client.known_value = None  # it stood for the key before; this one's may not be kept
        client.known_hash = hash_secret(secret)
        client.known_secret = secret
    if value is not None and len(value) <= REMEMBERED_BYTES_MAX:
        client.known_value = value
        client.known_place = place
    return client.known_hash


def _compile(entry: KeyEntry, active: Active) -> Caller:
    if entry.workspace_status is WorkspaceStatus.SUSPENDED:
        raise Refusal(RefusalCode.WORKSPACE_SUSPENDED)
    if entry.workspace_status is WorkspaceStatus.PAYMENT_REQUIRED:
        raise Refusal(RefusalCode.PAYMENT_REQUIRED)
    pricing = active.pricing
    tier = pricing.tiers.get(entry.plan) if pricing is not None else None
    if pricing is None or tier is None:
        raise Refusal(RefusalCode.PLAN_UNKNOWN)
    return Caller(entry, active, pricing, tier)


def require_access(caller: Caller, route: Route, client_address: str) -> None:
    """Refuse what the plan or the key does not include.

    Raises:
        Refusal: ``FEATURE_UNAVAILABLE`` or ``ADDRESS_NOT_ALLOWED``.
    """
    entry = caller.entry
    if entry.networks and not is_address_allowed(address_in(client_address), entry.networks):
        raise Refusal(RefusalCode.ADDRESS_NOT_ALLOWED)
    if route.requires:
        missing = missing_features(route.requires, caller.tier.features, entry.features)
        if missing:
            barred = entry.features is not None and not missing <= entry.features
            raise Refusal(RefusalCode.FEATURE_UNAVAILABLE, features=missing, barred=barred)


def standing_of(caller: Caller, plan: RoutePlan, at_micro: int, client_address: str) -> Standing:
    """Return where a caller stands on a route, for the periods that contain an instant."""
    route = plan.route
    standing = caller.standings.get(route.name)
    if standing is not None and at_micro < standing.template.valid_until_micro:
        return standing
    ladders = ladders_of(caller.tier, route)
    template = build_template(
        ladders,
        caller.entry.workspace_id,
        at_micro,
        key_id=caller.entry.key_id,
        route=route.name,
        address=client_address,
    )
    standing = _stand(template, plan, caller.pricing)
    if not any(ladder.scope is Scope.ADDRESS for ladder in ladders):
        caller.standings[route.name] = standing
    return standing


def open_standing(
    plan: RoutePlan, pricing: Pricing, at_micro: int, client_address: str
) -> Standing:
    """Return the counters of a route without keys: limits by client address."""
    template = build_template(
        plan.route.own_limits,
        f"address-{group_on_open_route(client_address, plan.route.own_limits)}",
        at_micro,
        route=plan.route.name,
        address=client_address,
    )
    return _stand(template, plan, pricing)


def _stand(template: ChargeTemplate, plan: RoutePlan, pricing: Pricing) -> Standing:
    cost = plan.static_cost_micro
    return Standing(
        template=template,
        fields=prepare(template, pricing.answers, legacy=plan.legacy),
        static_cost_micro=cost,
        static_amounts_micro=() if cost is None else amounts(template, cost),
    )


def ladders_of(tier: Tier, route: Route) -> list[Ladder]:
    """Return the limits that apply to a tier on a route, in the order they are told."""
    listed = [tier.ladders[name] for name in route.limits if name in tier.ladders]
    return [*listed, *route.own_limits]


def remembered_refusal(standing: Standing, charge: Charge, now_micro: int) -> Counts | None:
    """Return a refusal that is known to hold still, so that the store need not be asked.

    Only for charges of at least the amounts that were refused, without a run id (which might be a
    repeat that costs nothing).
    """
    counts = standing.refused
    if counts is None:
        return None
    if now_micro >= standing.refused_until_micro:
        standing.refused = None
        return None
    if charge.run_key is not None or charge.amounts_micro != standing.static_amounts_micro:
        return None
    return Counts(admitted=False, repeat=False, now_micro=now_micro, after_micro=counts.after_micro)
