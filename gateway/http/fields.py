"""Names of HTTP fields that the gateway treats in a way of its own. All lower case.

Source: RFC 9110 7.6.1 (Connection), RFC 9112 6.1, RFC 9651; requirement X1.
"""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
"""Fields of one connection, never forwarded (the gateway writes its own framing)."""

NOT_NOMINATED = frozenset(
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

GATEWAY_OWNED_REQUEST = frozenset(
    {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"x-request-id"}
)
"""Request fields that the gateway replaces by its own."""

_PLAIN_CONNECTION = frozenset({b"keep-alive", b"close", b"upgrade"})
_NOTHING: frozenset[bytes] = frozenset()


def nominated(connection_values: list[bytes]) -> frozenset[bytes]:
    """Return the field names that ``Connection`` fields nominate for removal (RFC 9110 7.6.1)."""
    if len(connection_values) == 1 and connection_values[0].lower() in _PLAIN_CONNECTION:
        return _NOTHING
    names = {
        token.strip().lower() for value in connection_values for token in value.split(b",")
    } - {b""}
    return frozenset(names - NOT_NOMINATED)


def has_token(values: list[bytes], token: bytes) -> bool:
    """Return whether a comma-separated list field contains a token, case-insensitively."""
    return any(part.strip().lower() == token for value in values for part in value.split(b","))
