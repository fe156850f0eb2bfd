"""Trailers that are sent on, and those that mean something only in a head: both directions alike.

A recipient may merge trailers into the head that it has acted on already, so nothing passes that
frames, routes, modifies, authorises or describes a message, or that the gateway itself writes.
Source: RFC 9110 6.5.1, 6.5.2; docs/semantics.md.
"""

from typing import Final

from gateway.http.chunks import Trailers
from gateway.http.fields import GATEWAY_OWNED_REQUEST, HOP_BY_HOP

_FRAMING: Final = HOP_BY_HOP | {b"content-length", b"trailer"}
_ROUTING: Final = GATEWAY_OWNED_REQUEST | {b"host", b"via", b"max-forwards"}
_MODIFIERS: Final = frozenset({
    b"cache-control", b"early-data", b"expect", b"pragma", b"prefer", b"range",
})  # fmt: skip
_AUTHENTICATION: Final = frozenset({
    b"authorization", b"cookie", b"cookie2", b"set-cookie", b"set-cookie2", b"www-authenticate",
    b"x-api-key",
})  # fmt: skip
_CONTENT: Final = frozenset({b"content-encoding", b"content-range", b"content-type"})
_CONTROL_DATA: Final = frozenset({
    b"age", b"date", b"expires", b"location", b"retry-after", b"vary", b"warning",
})  # fmt: skip
_OWN: Final = frozenset({b"gateway-degraded"})

FORBIDDEN: Final = (
    _FRAMING | _ROUTING | _MODIFIERS | _AUTHENTICATION | _CONTENT | _CONTROL_DATA | _OWN
)
"""In lower case, with hyphens."""
FORBIDDEN_BEGINNINGS: Final = (
    b"if-", b"proxy-", b"ratelimit", b"x-forwarded-", b"x-gateway-", b"x-ratelimit-",
)  # fmt: skip


def trailer_lines(trailers: Trailers | None, dropped: frozenset[bytes]) -> bytes:
    """Return the trailers that are sent on, as lines.

    Args:
        trailers: In order.
        dropped: Lower-case names of further ones that are not sent on.
    """
    if not trailers:
        return b""
    return b"".join(b"%b: %b\r\n" % pair for pair in trailers if _passes(pair[0].lower(), dropped))


def _passes(name: bytes, dropped: frozenset[bytes]) -> bool:
    """Return whether a trailer is sent on; CGI can't tell an underscore from a hyphen."""
    plain = name.replace(b"_", b"-")
    return not (
        name in dropped
        or plain in dropped
        or plain in FORBIDDEN
        or plain.startswith(FORBIDDEN_BEGINNINGS)
    )
