"""Heads as they are sent on: a request head for the upstream, an answer's head for the client.

Heads are always written anew from parsed fields, with framing that the gateway chose; order, case
and duplicates of end-to-end fields are kept.
Source: RFC 9110 7.6 (Connection, Via), RFC 7239 (Forwarded), RFC 9112 6; requirement X1.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from gateway.http.field_lines import Field

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}

_LINE_END: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class ClientOrigin:
    """Who is at the other end of a client connection, and what is said of it upstream.

    Attributes:
        address: Address of the client as far as trusted proxies tell, canonical text.
        forwarded_for: Value of ``X-Forwarded-For`` to send upstream.
        node: The client in ``Forwarded`` syntax (RFC 7239 6).
        scheme: ``http`` or ``https``, of the client's connection as far as trusted proxies tell.
        group: What the address is counted under where that is not a policy's to say.
    """

    address: str
    forwarded_for: bytes
    node: bytes
    scheme: bytes
    group: str = ""


def node_of(address: str) -> bytes:
    """Return an address as ``Forwarded`` names it (RFC 7239 6)."""
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
