"""Which trailers are sent on: one table for requests and answers."""

import pytest

from gateway.http.trailers import trailer_lines

NOTHING: frozenset[bytes] = frozenset()


@pytest.mark.parametrize(
    "name",
    [
        # framing and the connection
        b"Content-Length", b"Transfer-Encoding", b"Trailer", b"TE", b"Connection", b"Keep-Alive",
        b"Upgrade", b"HTTP2-Settings",
        # routing
        b"Host", b"Via", b"Max-Forwards", b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Proto",
        b"X-Forwarded-Host", b"X-Forwarded-Port", b"X-Forwarded-Prefix", b"X-Forwarded-Server",
        b"X-Real-IP",
        # request modifiers and conditionals
        b"Cache-Control", b"Pragma", b"Expect", b"Range", b"If-Match", b"If-None-Match",
        b"If-Modified-Since", b"If-Unmodified-Since", b"If-Range", b"if-match", b"Early-Data",
        # who the caller is
        b"Authorization", b"Cookie", b"Set-Cookie", b"WWW-Authenticate", b"X-API-Key",
        b"Proxy-Authorization", b"Proxy-Authenticate", b"Proxy-Authentication-Info",
        b"Proxy-Connection",
        # content
        b"Content-Type", b"Content-Encoding", b"Content-Range",
        # control data of answers
        b"Age", b"Date", b"Expires", b"Location", b"Retry-After", b"Vary", b"Warning",
        # the gateway's own
        b"RateLimit", b"RateLimit-Policy", b"RateLimit-Limit", b"X-RateLimit-Remaining",
        b"X-Request-Id", b"X-Gateway-Workspace", b"X-Gateway-Anything", b"Gateway-Degraded",
        # what CGI can't tell from one of them
        b"Content_Length", b"X_Forwarded-For", b"IF_MATCH", b"x_gateway_plan",
    ],
)  # fmt: skip
def test_what_means_something_in_a_head_only_is_dropped(name: bytes) -> None:
    trailers = [(b"X-Sum", b"1"), (name, b"2"), (b"ETag", b'"3"')]

    assert trailer_lines(trailers, NOTHING) == b'X-Sum: 1\r\nETag: "3"\r\n'


@pytest.mark.parametrize(
    "name",
    [
        b"X-Sum", b"ETag", b"Digest", b"Content-Digest", b"Repr-Digest", b"Content-MD5",
        b"Server-Timing", b"Signature", b"Signature-Input", b"grpc-status", b"Grpc-Message",
        b"Authentication-Info", b"X-DC-Used", b"Accept", b"Link", b"Content-Language",
        b"X-If-Match",
        b"Rate", b"Gateway", b"Server", b"Allow",
    ],
)  # fmt: skip
def test_everything_else_passes_as_it_came(name: bytes) -> None:
    assert trailer_lines([(name, b"a"), (name, b"b")], NOTHING) == b"%b: a\r\n%b: b\r\n" % (
        name, name,
    )  # fmt: skip


def test_further_names_are_dropped_in_any_case() -> None:
    trailers = [(b"X-Drop", b"1"), (b"x_drop", b"2"), (b"X-Keep", b"3")]

    assert trailer_lines(trailers, frozenset({b"x-drop"})) == b"X-Keep: 3\r\n"


def test_none_are_nothing() -> None:
    assert trailer_lines([], NOTHING) == trailer_lines(None, NOTHING) == b""
