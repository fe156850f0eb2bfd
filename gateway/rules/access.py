"""Whether a known key may be used now, here, for this.

Source: design section 3 (step 3); requirements A14, B2, C1.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from gateway.errors import RefusalCode

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def key_refusal(
    *, now_micro: int, expires_at_micro: int | None, revoked_at_micro: int | None
) -> RefusalCode | None:
    """Return why a key can't be used at an instant, None if it can."""
    if revoked_at_micro is not None and revoked_at_micro <= now_micro:
        return RefusalCode.KEY_REVOKED
    if expires_at_micro is not None and expires_at_micro <= now_micro:
        return RefusalCode.KEY_EXPIRED
    return None


def is_address_allowed(address: Address | None, networks: Sequence[Network]) -> bool:
    """Return whether a client address lies in one of the networks; no networks allow all."""
    return not networks or any(address in network for network in networks if address is not None)


def missing_features(
    required: frozenset[str], plan: frozenset[str], key: frozenset[str] | None
) -> frozenset[str]:
    """Return what a route requires that the plan, or the key within the plan, does not have."""
    granted = plan if key is None else plan & key
    return required - granted
