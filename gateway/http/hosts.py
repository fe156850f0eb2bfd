"""Hosts in one canonical form, for matching and for forwarding alike.

``A!b``, ``a!B`` and ``%61!b`` are one host: names are in lower case, escapes of unreserved
characters are decoded and others are in upper case, IPv6 addresses are as RFC 5952 writes them.
Source: RFC 3986 3.2.2, 3.2.3, 6.2.2; RFC 9110 4.2.3, 7.2; docs/semantics.md.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

_PLAIN: Final = re.compile(rb"[a-z0-9\-._~]+(?::[1-9][0-9]{0,4})?")
"""What most hosts are: canonical already."""
_AUTHORITY: Final = re.compile(rb"(\[[^\[\]]*\]|[^\[\]:]+)(?::([0-9]{0,5}))?")
_NAME: Final = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+")
"""A reg-name but for the comma, which stands between the members of a list: a recipient that joined
two ``Host`` lines would write it, and a request has one host (RFC 9112 3.2)."""
_FUTURE: Final = re.compile(rb"v[0-9a-f]+\.[a-z0-9\-._~!$&'()*+;=:]+")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)


def canonical_host(authority: bytes) -> bytes | None:
    """Return a host, perhaps with a port, in its canonical form; None of what is none.

    An empty port is dropped, and so are a port's leading zeros; the port itself stays, whatever the
    scheme. A user, a zone and an empty host are refused.
    """
    if _PLAIN.fullmatch(authority):
        return authority
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return None
    host = _literal(parts[1][1:-1].lower()) if authority[:1] == b"[" else _name(parts[1])
    if host is None or not parts[2]:
        return host
    return b"%b:%d" % (host, int(parts[2]))


def _name(name: bytes) -> bytes | None:
    if not _NAME.fullmatch(name):
        return None
    return _ESCAPE.sub(_unescaped, name.lower())


def _unescaped(escape: re.Match[bytes]) -> bytes:
    code = int(escape[1], 16)
    return bytes([code]).lower() if code in _UNRESERVED else escape[0].upper()


def _literal(literal: bytes) -> bytes | None:
    """Return what stands in brackets, canonical, with them."""
    if _FUTURE.fullmatch(literal):
        return b"[%b]" % literal
    if b"%" in literal:
        return None  # a zone means something on one machine only (RFC 4007 11)
    try:
        address = IPv6Address(literal.decode("latin-1"))
    except AddressValueError:
        return None
    mapped = address.ipv4_mapped
    return f"[{address if mapped is None else f'::ffff:{mapped}'}]".encode()
