"""Which client addresses count as one: a whole network where a client has one to itself.

A site gets a /64 of IPv6 or more, and a client that has one has 2**64 addresses: counted singly, it
would never reach a limit. Of IPv4 each address counts for itself, unless a policy says otherwise.
Source: RFC 6177 2, RFC 4291 2.5.1; docs/semantics.md#client-addresses.
"""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Final

from gateway.rules.limits import Ladder, Scope

IPV4_BITS: Final = 32
IPV6_BITS: Final = 64


def group_of(address: str, ipv4_bits: int = IPV4_BITS, ipv6_bits: int = IPV6_BITS) -> str:
    """Return the name under which an address is counted: itself, or its network.

    Args:
        address: Canonical text; what is no address (of a Unix socket) is its own group.
        ipv4_bits: Length of the prefix that IPv4 addresses of one group share.
        ipv6_bits: The same of IPv6.
    """
    bits, all_bits = (ipv6_bits, 128) if ":" in address else (ipv4_bits, 32)
    if bits == all_bits:
        return address
    try:
        return str(ip_network(f"{address}/{bits}", strict=False))
    except ValueError:
        return address


def group_on_open_route(address: str, ladders: Sequence[Ladder]) -> str:
    """Return the group that stands for the workspace where there is none.

    All limits of an open route count by one prefix (``config.compile_checks``): their counters lie
    in one slot.
    """
    for ladder in ladders:
        if ladder.scope is Scope.ADDRESS:
            return group_of(address, ladder.ipv4_bits, ladder.ipv6_bits)
    return group_of(address)
