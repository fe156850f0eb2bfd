"""Names of HTTP fields that the gateway treats in a way of its own. All lower case.

Source: RFC 9110 7.6.1 (Connection), RFC 9112 6.1, RFC 9651; requirement X1.
"""

from itertools import product
from typing import Final

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
"""Fields of one connection, never forwarded (the gateway writes its own framing)."""

NOT_NOMINATED: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"content-type",
        b"authorization",
        b"x-api-key",
        b"cookie",
        b"cache-control",
        b"expect",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"forwarded",
        b"via",
        b"x-request-id",
        b"idempotency-key",
        b"close",
    }
)
"""A ``Connection`` field can't remove these: a caller could strip what policies rely on."""

GATEWAY_OWNED_REQUEST: Final = frozenset(
    {
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-real-ip",
        b"forwarded",
        b"x-request-id",
    }
)
"""Request fields that the gateway replaces by its own, and claims of the same kind."""

_COMMON: Final = (
    b"Accept", b"Accept-Encoding", b"Accept-Language", b"Accept-Ranges", b"Age", b"Allow",
    b"Authorization", b"Baggage", b"Cache-Control", b"Connection", b"Content-Disposition",
    b"Content-Encoding", b"Content-Language", b"Content-Length", b"Content-Location",
    b"Content-Range", b"Content-Type", b"Cookie", b"DNT", b"Date", b"ETag", b"Expect", b"Expires",
    b"Forwarded", b"Host", b"Idempotency-Key", b"If-Match", b"If-Modified-Since",
    b"If-None-Match", b"If-Range", b"If-Unmodified-Since", b"Keep-Alive", b"Last-Modified",
    b"Link", b"Location", b"Origin", b"Pragma", b"Range", b"RateLimit", b"RateLimit-Policy",
    b"Referer", b"Retry-After", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Server",
    b"Set-Cookie", b"Strict-Transport-Security", b"TE", b"Trailer", b"Transfer-Encoding",
    b"Traceparent", b"Tracestate", b"Upgrade", b"User-Agent", b"Vary", b"Via",
    b"WWW-Authenticate", b"X-API-Key", b"X-Api-Key", b"X-Content-Type-Options",
    b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X-Frame-Options",
    b"X-Powered-By", b"X-Request-ID", b"X-Request-Id", b"X-Run-Id",
)  # fmt: skip
_LOWER: Final[dict[bytes, bytes]] = {name: name.lower() for name in _COMMON} | {
    name.lower(): name.lower() for name in _COMMON
}
"""Looking a common spelling up costs a third of changing its case."""

_MIXED_DASHES_MAX: Final = 5
"""Names with more dashes have too many mixed spellings; the two pure ones are kept apart."""
_PLAIN_CONNECTION: Final = frozenset(
    {b"keep-alive", b"close", b"upgrade", b"Keep-Alive", b"Close", b"Upgrade"}
)
_NOTHING: Final[frozenset[bytes]] = frozenset()
_ZERO: Final = ord("0")
_BLANK: Final = ord(" ")


def common_lower(name: bytes) -> bytes | None:
    """Return a common name in lower case, None of any other; none of them holds an underscore."""
    return _LOWER.get(name)


def lower(name: bytes) -> bytes:
    """Return a field's name in lower case."""
    known = _LOWER.get(name)
    return name.lower() if known is None else known


def decimal(digits: bytes) -> int:
    """Return the number that a field's value is; compiled, it calls nothing, as ``int`` would.

    Raises:
        ValueError: there is anything but digits, or nothing.
    """
    number = 0
    for at in range(len(digits)):
        digit = digits[at] - _ZERO
        if not 0 <= digit <= 9:
            raise ValueError("not a number")
        number = number * 10 + digit
    if not digits:
        raise ValueError("not a number")
    return number


def trimmed(value: bytes) -> bytes:
    """Return a field's value without the blanks behind it, which the parser leaves."""
    return value.rstrip(b" \t") if value and value[-1] <= _BLANK else value


def nominated(connection_values: list[bytes]) -> frozenset[bytes]:
    """Return the field names that ``Connection`` fields nominate for removal (RFC 9110 7.6.1)."""
    if len(connection_values) == 1 and connection_values[0] in _PLAIN_CONNECTION:
        return _NOTHING
    names = {
        token.strip().lower() for value in connection_values for token in value.split(b",")
    } - {b""}
    return frozenset(names - NOT_NOMINATED)


def with_aliases(names: frozenset[bytes]) -> frozenset[bytes]:
    """Return names with every spelling that CGI and WSGI can't tell from them.

    There ``X_Tenant-Id`` becomes the same variable as ``X-Tenant-Id`` (STANDARDS 4.1).
    """
    return frozenset(
        b"".join(part + mark for part, mark in zip(name.split(b"-"), (*marks, b""), strict=True))
        for name in names
        for marks in (
            product((b"-", b"_"), repeat=name.count(b"-"))
            if name.count(b"-") <= _MIXED_DASHES_MAX
            else ((mark,) * name.count(b"-") for mark in (b"-", b"_"))
        )
    )


def has_token(values: list[bytes], token: bytes) -> bool:
    """Return whether a comma-separated list field contains a token, case-insensitively."""
    return any(part.strip().lower() == token for value in values for part in value.split(b","))
