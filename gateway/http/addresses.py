"""From text to an address: the one way for whatever names one, a peer, a field, a file, a command.

An address that can be written in several ways is made one before anything is decided by it: port,
zone, quotes and brackets go, an IPv4 address within IPv6 becomes IPv4 again, and its text is the
canonical one. Other addresses that hold an IPv4 one (6to4, NAT64, IPv4-compatible) stay what they
are: they are reached in another way.
Source: RFC 7239 6 (nodes), RFC 4291 2.5.5.2 (mapped), RFC 4007 11 (zones), RFC 5952 (text).
"""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TEXT_MAX: Final = 128
"""More characters than an address takes with all that may stand around it."""
_PORT_MAX: Final = 65_535
_PORT_DIGITS_MAX: Final = 5
_DIGITS: Final = frozenset("0123456789abcdefABCDEF.:")
"""Of an address without all that may stand around it."""
_MAPPED: Final = 96
"""Bits before the IPv4 address in a mapped one."""


def address_in(text: str) -> Address | None:
    """Return the address that a text names, None if it names none.

    Taken are an address, quoted or not, with or without a port (IPv6 then in brackets) and a zone.
    ``unknown`` and names of one's own (RFC 7239 6.2, 6.3) are no addresses, nor are octets with
    leading zeros, which some read as octal.
    """
    if len(text) > TEXT_MAX or not text.isascii():
        return None
    text = text.strip(" \t")
    if text[:1] == '"':
        if len(text) < 2 or text[-1] != '"':
            return None
        text = text[1:-1]
    if text[:1] == "[":
        text, bracket, port = text[1:].partition("]")
        if not bracket or ":" not in text or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, colon, port = text.partition(":")
        if not _is_port(colon + port):
            return None
    address, percent, zone = text.partition("%")
    if percent and (not zone or ":" not in address):
        return None
    try:
        return unmapped(ip_address(address))
    except ValueError:
        return None


def _is_port(text: str) -> bool:
    digits = text[1:]
    return (
        text[:1] == ":"
        and digits.isdigit()
        and len(digits) <= _PORT_DIGITS_MAX
        and int(digits) <= _PORT_MAX
    )


def unmapped(address: Address) -> Address:
    """Return the IPv4 address within a mapped IPv6 address, any other as it is."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def network_in(text: str) -> Network:
    """Return the network that a text names; a single address is a network of its own.

    Raises:
        ValueError: it names none, or an address within one. The message has what was meant then.
    """
    text = text.strip(" \t")
    if "%" in text:
        raise ValueError(
            f"{text[:TEXT_MAX]!r} has a zone, which means something on one machine only"
        )
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(_no_network(text[:TEXT_MAX])) from None
    if isinstance(network, IPv6Network):
        within = network.network_address.ipv4_mapped
        if within is not None and network.prefixlen >= _MAPPED:
            network = IPv4Network((within, network.prefixlen - _MAPPED))
    address = address_in(text.partition("/")[0])
    if address != network.network_address:
        raise ValueError(f"{text} has host bits set: the network is {network}")
    return network


def _no_network(text: str) -> str:
    """Return why a text names no network."""
    address, slash, length = text.partition("/")
    found = address_in(address)
    if found is None:
        return f"{text!r} names no address"
    if not set(address) <= _DIGITS or address.count(":") == 1:
        return f"{text!r} has more than the address: write {found}{slash}{length}"
    return f"{text!r} has no prefix length from 0 to {found.max_prefixlen}"
