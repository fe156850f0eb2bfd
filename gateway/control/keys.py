"""API keys: create, revoke, let expire, rotate. A secret is returned once and kept nowhere.

Source: requirements B2, B17, C16, C18.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.control.workspaces import find_workspace
from gateway.errors import GatewayError
from gateway.http.addresses import network_in
from gateway.keys.format import PREFIX, generate
from gateway.keys.port import KeyDescription, KeyRegistry, NewKey
from gateway.rules.identifiers import suggestion
from gateway.rules.plan import Pricing
from gateway.rules.units import MICRO


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What an operator wants of a new key.

    Attributes:
        environment: Part of the key's prefix, such as ``live`` or ``test``.
        features: None for all of the plan's.
        networks: Where the key may be used from; empty for everywhere.
    """

    workspace_id: str
    environment: str = "live"
    name: str = ""
    expires_at_micro: int | None = None
    features: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key and, this once, its secret."""

    secret: str
    key: NewKey

    def __repr__(self) -> str:
        return f"CreatedKey(key_id={self.key.key_id!r})"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The new key and the old one, which ends when the overlap is over."""

    created: CreatedKey
    old: KeyDescription


def prepare_key(pricing: Pricing, clock: Clock, request: KeyRequest) -> CreatedKey:
    """Make a key without storing it.

    Raises:
        GatewayError: an expiry in the past, a feature that no plan has, a malformed network or
            environment.
    """
    _require_known_features(pricing, request.features or ())
    return _made(clock, request)


def _made(clock: Clock, request: KeyRequest) -> CreatedKey:
    now_micro = clock.now_micro()
    if request.expires_at_micro is not None and request.expires_at_micro <= now_micro:
        raise GatewayError(
            "key.expiry_in_past", "the key would have expired already", "give a later expiry"
        )
    try:
        made = generate(request.environment)
    except ValueError as error:
        raise GatewayError(
            "key.environment_invalid",
            f"the environment is {error}",
            "use a word such as live or test",
        ) from error
    key = NewKey(
        key_id=made.key_id,
        key_hash=made.key_hash,
        prefix=made.prefix,
        workspace_id=request.workspace_id,
        name=request.name,
        created_at_micro=now_micro,
        expires_at_micro=request.expires_at_micro,
        features=request.features,
        networks=_canonical(request.networks),
    )
    return CreatedKey(secret=made.secret, key=key)


def create_key(
    registry: KeyRegistry, pricing: Pricing, clock: Clock, request: KeyRequest
) -> CreatedKey:
    """Make and store a key of a workspace.

    Raises:
        GatewayError: there is no such workspace; see ``prepare_key``.
    """
    find_workspace(registry, request.workspace_id)
    created = prepare_key(pricing, clock, request)
    registry.create_key(created.key)
    return created


def find_key(registry: KeyRegistry, key_id: str) -> KeyDescription:
    """Return a key's description.

    Raises:
        GatewayError: there is none of this id.
    """
    key = registry.key(key_id)
    if key is None:
        raise GatewayError(
            "key.unknown", f"there is no key {key_id!r}", "`gateway keys list` shows all of them"
        )
    return key


def revoke_key(registry: KeyRegistry, key_id: str) -> KeyDescription:
    """Refuse a key from now on. Revoking it again changes nothing.

    Raises:
        GatewayError: there is no such key.
    """
    return registry.revoke_key(key_id, at_micro=None)


def expire_key(registry: KeyRegistry, clock: Clock, key_id: str, at_micro: int) -> KeyDescription:
    """Refuse a key from a later instant on.

    Raises:
        GatewayError: there is no such key, it has ended already or ends sooner by itself, or the
            instant lies in the past.
    """
    key = find_key(registry, key_id)
    _require_usable(key, clock.now_micro())
    if key.expires_at_micro is not None and at_micro > key.expires_at_micro:
        raise GatewayError(
            "key.expires_sooner",
            f"the key {key_id!r} expires before that",
            "an expiry can't be put off; rotate the key or create another",
        )
    if at_micro <= clock.now_micro():
        raise GatewayError(
            "key.expiry_in_past", "the instant has passed", "`gateway keys revoke` ends it now"
        )
    return registry.revoke_key(key_id, at_micro=at_micro)


def rotate_key(
    registry: KeyRegistry, clock: Clock, key_id: str, *, overlap_seconds: int
) -> Rotation:
    """Replace a key by a new one of the same rights; the old one lives through the overlap.

    Raises:
        GatewayError: there is no such key, or it has ended already.
    """
    created, ends_at_micro = prepare_rotation(
        registry, clock, key_id, overlap_seconds=overlap_seconds
    )
    ended = registry.replace_key(key_id, created.key, ends_at_micro=ends_at_micro)
    return Rotation(created=created, old=ended)


def prepare_rotation(
    registry: KeyRegistry, clock: Clock, key_id: str, *, overlap_seconds: int
) -> tuple[CreatedKey, int | None]:
    """Make a key of the same rights and store nothing: where keys are written by hand.

    Returns:
        The new key, and when the old one is to end, None for at once.

    Raises:
        GatewayError: as ``rotate_key``.
    """
    old = find_key(registry, key_id)
    now_micro = clock.now_micro()
    _require_usable(old, now_micro)
    created = _made(
        clock,
        KeyRequest(
            workspace_id=old.workspace_id,
            environment=_environment_of(old.prefix),
            name=old.name,
            expires_at_micro=old.expires_at_micro,
            features=old.features,
            networks=old.networks,
        ),
    )
    ends = [now_micro + overlap_seconds * MICRO, old.revoked_at_micro, old.expires_at_micro]
    return created, min(end for end in ends if end is not None) if overlap_seconds else None


def _environment_of(prefix: str) -> str:
    """Return the environment that a key's shown part names; keys made elsewhere name none."""
    parts = prefix.split("_")
    return parts[1] if len(parts) == 3 and parts[0] == PREFIX else "live"


def _require_usable(key: KeyDescription, now_micro: int) -> None:
    ends = [end for end in (key.revoked_at_micro, key.expires_at_micro) if end is not None]
    if ends and min(ends) <= now_micro:
        raise GatewayError(
            "key.ended",
            f"the key {key.key_id!r} is revoked or expired",
            "create a new key for the workspace instead",
        )


def _require_known_features(pricing: Pricing, features: Sequence[str]) -> None:
    known = frozenset().union(*(tier.features for tier in pricing.tiers.values()))
    unknown = sorted(set(features) - known)
    if unknown:
        raise GatewayError(
            "key.feature_unknown",
            f"no plan has the feature {unknown[0]!r}",
            suggestion(unknown[0], known) or "no plan has any feature",
        )


def _canonical(networks: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(str(network_in(network)) for network in networks)
    except ValueError as error:
        raise GatewayError(
            "key.network_invalid",
            f"not a network: {error}",
            "write it as 203.0.113.0/24 or 2001:db8::/32",
        ) from error
