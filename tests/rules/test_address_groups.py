"""Who has a network to himself is one client, and not as many as it has addresses."""

from dataclasses import replace

import pytest

from gateway.rules.address_groups import group_of, group_on_open_route
from gateway.rules.charging import counter_key
from gateway.rules.limits import Ladder, Scope
from gateway.rules.windows import Window, WindowKind, period_at
from tests.support.plans import extra


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_a_client_of_ipv6_has_a_64(address: str, group: str) -> None:
    assert group_of(address) == group


@pytest.mark.parametrize(
    ("address", "bits", "group"),
    [
        ("192.0.2.7", (24, 64), "192.0.2.0/24"),
        ("192.0.2.7", (32, 128), "192.0.2.7"),
        ("2001:db8:1:2::7", (24, 48), "2001:db8:1::/48"),
        ("2001:db8:1:2::7", (32, 128), "2001:db8:1:2::7"),
        ("unix", (24, 48), "unix"),
        ("", (24, 48), ""),
    ],
)
def test_a_policy_may_count_by_other_prefixes(
    address: str, bits: tuple[int, int], group: str
) -> None:
    assert group_of(address, *bits) == group


def limit(scope: Scope, **bits: int) -> Ladder:
    return replace(extra("a", 5, Window(WindowKind.SECONDS, 60), scope=scope), **bits)


def test_on_an_open_route_the_prefix_of_its_limits_counts() -> None:
    by_address, by_route = limit(Scope.ADDRESS, ipv6_bits=48), limit(Scope.ROUTE)

    assert group_on_open_route("2001:db8:1:2::7", [by_route, by_address]) == "2001:db8:1::/48"
    assert group_on_open_route("2001:db8:1:2::7", [by_route]) == "2001:db8:1:2::/64"
    assert group_on_open_route("192.0.2.7", []) == "192.0.2.7"


@pytest.mark.parametrize(
    ("address", "bits", "name"),
    [
        ("192.0.2.7", {}, "policy-a:{acme}:address:192.0.2.7:1"),
        ("192.0.2.7", {"ipv4_bits": 24}, "policy-a:{acme}:address:192.0.2.0/24:1"),
        ("2001:db8::7", {}, "policy-a:{acme}:address:2001:db8::/64:1"),
        ("2001:db8::7", {"ipv6_bits": 128}, "policy-a:{acme}:address:2001:db8::7:1"),
    ],
)
def test_a_counter_has_the_group_in_its_name(address: str, bits: dict[str, int], name: str) -> None:
    """That of an IPv4 address is what it was before there were groups."""
    ladder = replace(limit(Scope.ADDRESS, **bits), counter="policy-a")
    period = period_at(ladder.window, 60_000_000)

    assert counter_key(ladder, "acme", period, address=address) == name
