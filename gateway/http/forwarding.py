"""Heads as they are sent on: a request head for the upstream, an answer's head for the client.

Heads are always written anew from parsed fields, with framing that the gateway chose; order, case
and duplicates of end-to-end fields are kept.
Source: RFC 9110 7.6 (Connection, Via), RFC 7239 (Forwarded), RFC 9112 6; requirement X1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from gateway.http.field_lines import Field

Network = IPv4Network | IPv6Network

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}

_LINE_END: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class ClientOrigin:
    """Who is at the other end of a client connection, and what is said of it upstream.

    Attributes:
        address: Address of the client as far as trusted proxies tell.
        forwarded_for: Value of ``X-Forwarded-For`` to send upstream.
        node: The client in ``Forwarded`` syntax (RFC 7239 6).
        scheme: ``http`` or ``https``, of the client's connection as far as trusted proxies tell.
    """

    address: str
    forwarded_for: bytes
    node: bytes
    scheme: bytes


def address_of(peername: object) -> str:
    """Return the address of a socket's other end, ``unix`` if it has none."""
    if isinstance(peername, tuple) and peername:
        return str(peername[0]).removeprefix("::ffff:")
    return "unix"


def origin_of(
    peer: str,
    scheme: bytes,
    forwarded_for: list[bytes],
    trusted: Sequence[Network],
    forwarded_proto: list[bytes] | None = None,
) -> ClientOrigin:
    """Return the client behind a connection; claims of untrusted peers are dropped.

    The right-most address that is not a trusted proxy is the client (STANDARDS 4.1).
    """
    if not forwarded_for or not trusted or not is_trusted(peer, trusted):
        return ClientOrigin(peer, peer.encode(), _node(peer), scheme)
    if forwarded_proto is not None and forwarded_proto[-1].lower() in {b"http", b"https"}:
        scheme = forwarded_proto[-1].lower()
    hops = [hop.strip().decode("latin-1") for value in forwarded_for for hop in value.split(b",")]
    client = peer
    for hop in reversed(hops):
        if not _is_address(hop):
            break
        client = hop
        if not is_trusted(hop, trusted):
            break
    chain = b", ".join([*(value.strip() for value in forwarded_for), peer.encode()])
    return ClientOrigin(client, chain, _node(client), scheme)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    """Return whether an address lies in one of the networks."""
    if not _is_address(text):
        return False
    address = ip_address(text)
    return any(address in network for network in trusted)


def _node(address: str) -> bytes:
    return f'"[{address}]"'.encode() if ":" in address else address.encode()


def origin_lines(origin: ClientOrigin, host: bytes, via: bytes) -> bytes:
    """Return ``Via``, ``X-Forwarded-*`` and ``Forwarded`` for a request with this ``Host``."""
    if not host:  # HTTP/1.0 knows none
        return b"Via: 1.1 %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (
            via, origin.forwarded_for, origin.scheme
        ) + b"Forwarded: for=%b;proto=%b\r\n" % (origin.node, origin.scheme)  # fmt: skip
    quoted = host.replace(b"\\", b"").replace(b'"', b"")
    return (
        b"Via: 1.1 %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n"
        b'X-Forwarded-Host: %b\r\nForwarded: for=%b;host="%b";proto=%b\r\n'
        % (via, origin.forwarded_for, origin.scheme, host, origin.node, quoted, origin.scheme)
    )


def request_head(
    start_line: bytes, fields: list[Field], dropped: frozenset[bytes], added: bytes
) -> bytes:
    """Return a request head.

    Args:
        start_line: Method, target and version, without the line end.
        fields: The client's fields, in order.
        dropped: Lower-case names that are not sent on.
        added: Whole lines that the gateway adds.
    """
    parts = [start_line, _LINE_END]
    for field in fields:
        if field.key not in dropped:
            parts.append(field.line)  # noqa: PERF401 - compiled, cheaper than a comprehension
    parts.append(added)
    parts.append(_LINE_END)
    return b"".join(parts)


def status_line(status: int, reason: bytes = b"") -> bytes:
    """Return an answer's first line; without a reason it says the usual one."""
    standard = STATUS_LINES.get(status)
    if standard is None or (reason and standard[13:-2] != reason):
        return b"HTTP/1.1 %d %b\r\n" % (status, reason)
    return standard


def response_head(
    status: int, reason: bytes, fields: list[Field], dropped: frozenset[bytes], added: bytes
) -> bytes:
    """Return an answer's head; arguments as for ``request_head``."""
    parts = [status_line(status, reason)]
    for field in fields:
        if field.key not in dropped:
            parts.append(field.line)  # noqa: PERF401 - compiled, cheaper than a comprehension
    parts.append(added)
    parts.append(_LINE_END)
    return b"".join(parts)
