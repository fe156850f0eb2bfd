"""A14, B2: whether a known key may be used now, from here, for this."""

from ipaddress import ip_address, ip_network

import pytest

from gateway.errors import RefusalCode
from gateway.rules.access import is_address_allowed, key_refusal, missing_features

NETWORKS = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("expires", "revoked", "expected"),
    [
        (None, None, None),
        (101, None, None),
        (100, None, RefusalCode.KEY_EXPIRED),
        (None, 101, None),
        (None, 100, RefusalCode.KEY_REVOKED),
        (50, 50, RefusalCode.KEY_REVOKED),
    ],
)
def test_key_ends_at_its_instant(
    expires: int | None, revoked: int | None, expected: RefusalCode | None
) -> None:
    """1.7: a rotated key lives through its overlap."""
    assert (
        key_refusal(now_micro=100, expires_at_micro=expires, revoked_at_micro=revoked) is expected
    )


def test_key_may_be_bound_to_networks() -> None:
    assert is_address_allowed(ip_address("192.0.2.7"), NETWORKS)
    assert is_address_allowed(ip_address("2001:db8::1"), NETWORKS)
    assert not is_address_allowed(ip_address("198.51.100.1"), NETWORKS)
    assert not is_address_allowed(None, NETWORKS)
    assert is_address_allowed(None, ())


def test_key_can_only_narrow_its_plan() -> None:
    required = frozenset({"replay"})
    plan = frozenset({"replay", "sso"})

    assert missing_features(required, plan, None) == set()
    assert missing_features(required, plan, frozenset({"sso"})) == {"replay"}
    assert missing_features(required, frozenset(), frozenset({"replay"})) == {"replay"}
