"""Requests that two parsers could read in two ways, and what must become of each.

Made by rules, not by hand. What is right is refused with a status, or forwarded as exactly the
requests that are named. Here: what heads hold, and what stands before and behind them.
Source: RFC 9112 2 to 5, 9.3; STANDARDS 4.
"""

from collections.abc import Iterator
from typing import Final

from conformance.vector import CRLF, HIDDEN, Vector, post, shown
from conformance.vectors_framing import framing_vectors


def vectors() -> list[Vector]:
    """Return all of them; names are unique."""
    return [
        *framing_vectors(), *_first_lines(), *_line_ends(), *_fields(), *_hosts(), *_targets(),
        *_old_clients(), *_expectations(), *_upgrades(), *_pipelines(),
    ]  # fmt: skip


FIRST_LINES: Final = (
    b"GET  /v HTTP/1.1", b"GET /v  HTTP/1.1", b"GET /v HTTP/1.1 ", b" GET /v HTTP/1.1",
    b"GET\t/v HTTP/1.1", b"GET /v\tHTTP/1.1", b"GET /v", b"GET", b"GET /v HTTP", b"GET /v HTTP/1",
    b"GET /v HTTP/1.", b"GET /v HTTP/11", b"GET /v HTTP/01.1", b"GET /v HTTP/1.01",
    b"GET /v HTTP/1.1x", b"GET /v http/1.1", b"GET /v Http/1.1", b"GET /v HTTP /1.1",
    b"GET /v HTTP/ 1.1", b"GET /v HTTP/1 .1", b"GET /v HTTP/1,1", b"GET /v HTTP/\xb9.1",
    b"GET /v HTTP/-1.1", b"GET /v RTSP/1.0", b"GET /v ICE/1.0", b"DESCRIBE /v RTSP/1.0",
    b"SOURCE /v ICE/1.0", b"GET /v FTP/1.1", b"GET /v w HTTP/1.1", b"GET /v HTTP/1.1 HTTP/1.1",
    b"GET /v\x00 HTTP/1.1", b"GET /v\x0b HTTP/1.1", b"GET /v\r HTTP/1.1",
    b"GET /\xc3\xa9 HTTP/1.1", b"GET /v\x7f HTTP/1.1", b"get /v HTTP/1.1",
    b"GE\x00T /v HTTP/1.1", b"GET\x00 /v HTTP/1.1", b"(GET) /v HTTP/1.1", b"GET, /v HTTP/1.1",
    b"\xef\xbb\xbfGET /v HTTP/1.1", b"HTTP/1.1 200 OK", b"HTTP/1.1 /v GET",
)  # fmt: skip


def _first_lines() -> Iterator[Vector]:
    for line in FIRST_LINES:
        yield Vector(f"first line {shown(line)}", line + b"\r\nHost: a\r\n\r\n" + HIDDEN, 400)
    for version in (b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"9.9"):
        yield Vector(
            f"version {version.decode()}",
            b"GET /v HTTP/%b\r\nHost: a\r\n\r\n" % version + HIDDEN,
            505,
        )
    for method in (b"FOOBAR", b"Get", b"GETS"):
        data = method + b" /v HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN
        yield Vector(f"method {method.decode()}", data, 501)
    for method in (b"CONNECT", b"TRACE"):
        target = b"a:443" if method == b"CONNECT" else b"/v"
        yield Vector(
            f"method {method.decode()}",
            b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, target),
            405,
        )


def _line_ends() -> Iterator[Vector]:
    head = b"GET /v HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    for at in range(4):
        parts = head.split(CRLF)
        for end in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x0b\r\n", b"\x00\r\n"):
            line_ends = [CRLF] * 4
            line_ends[at] = end
            data = b"".join(a + b for a, b in zip(parts, line_ends, strict=False))
            if at == 3 and end == b"\r\r\n":
                continue
            yield Vector(f"end of line {at + 1} is {shown(end)}", data + HIDDEN, 400)
    for before, status in (
        (b"\r\n", 0),
        (b"\r\n\r\n", 0),
        (b"\r\n\r\n\r\n", 400),
        (b"\n", 400),
        (b"\r", 400),
        (b"\r\n\n", 400),
        (b" \r\n", 400),
        (b"\x00", 400),
    ):
        yield Vector(
            f"before the first line {shown(before)}",
            before + head,
            status,
            () if status else ("/v",),
        )


FIELD_LINES: Final = (
    b"X : y", b"X\t: y", b" X: y", b"\tX: y", b"X: y\r\n z", b"X: y\r\n\tz", b"X", b": y", b":",
    b"X y: z", b"X\x00: y", b"X\x7f: y", b"X\xe9: y", b"X(: y", b"X[: y", b"X@: y", b"X/: y",
    b"X\\: y", b"X,: y", b'X": y', b"X{: y", b"X=: y", b"X;: y", b"X: \x00", b"X: \x01",
    b"X: \x07", b"X: \x0b", b"X: \x0c", b"X: \x1f", b"X: \x7f", b"X: a\rb", b"X: a\nb", b"X: a\r",
    b"X:\x00",
)  # fmt: skip


def _fields() -> Iterator[Vector]:
    for line in FIELD_LINES:
        yield Vector(
            f"field {shown(line)}",
            b"GET /v HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line + HIDDEN,
            400,
        )
    yield Vector("blank line before the fields", b"GET /v HTTP/1.1\r\n \r\nHost: a\r\n\r\n", 400)
    for line in (
        b"X:y",
        b"X:",
        b"X: ",
        b"X:\t y \t",
        b"X: \xe9\xff",
        b"!#$%&'*+-.^`|~0: y",
        b"X: a\tb",
        b"X: :",
        b'X: "a, b"',
        b"X: (c)",
    ):
        yield Vector(
            f"field {shown(line)} is right",
            b"GET /v HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line + HIDDEN,
            forwarded=("/v", "/hidden"),
        )


HOSTS: Final = (
    b"", b"Host:\r\n", b"Host: \r\n", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nHost: b\r\n",
    b"Host: a\r\nhost: a\r\n", b"Host: a b\r\n", b"Host: a, b\r\n", b"Host: a,b\r\n",
    b"Host: u@a\r\n", b"Host: a/b\r\n", b"Host: a?b\r\n", b"Host: a#b\r\n", b"Host: http://a\r\n",
    b"Host: a:b\r\n", b"Host: a:80:80\r\n", b"Host: a:-1\r\n", b"Host: a:999999\r\n",
    b"Host: [::1\r\n", b"Host: ::1\r\n", b"Host: a\\b\r\n", b"Host: a\x00\r\n", b"Host: \xe9\r\n",
    b'Host: "a"\r\n', b"Host: <a>\r\n", b"Host: a\r\n b\r\n", b"Host: a%2\r\n", b"Host: a%zz\r\n",
    b"Host: [:::]\r\n", b"Host: [fe80::1%25e]\r\n", b"Host: [v.a]\r\n", b"Host: [1.2.3.4]\r\n",
    b"Host : a\r\n", b" Host: a\r\n",
)  # fmt: skip


def _hosts() -> Iterator[Vector]:
    for lines in HOSTS:
        yield Vector(f"host {shown(lines)}", b"GET /v HTTP/1.1\r\n" + lines + CRLF, 400)
    for host in (
        b"a",
        b"A.example",
        b"a:80",
        b"127.0.0.1:8080",
        b"[::1]",
        b"[::1]:80",
        b"a_b.example",
        b"xn--4ca.example",
        b"a.example.",
        b"a;b",
        b"'a'",
        b"a!b",
        b"0.0.0.0=5000",
        b"%61%2D%c3%a9",
        b"[v1.a]",
        b"[vF.a:b]:80",
    ):
        yield Vector(
            f"host {shown(host)} is right",
            b"GET /v HTTP/1.1\r\nHost: %b\r\n\r\n" % host,
            forwarded=("/v",),
        )


TARGETS: Final = (
    b"v", b"*", b"//v", b"/a/../v", b"/./v", b"/%2e%2e/v", b"/%2E/v", b"/a%2fv", b"/a%5cv",
    b"/a\\v", b"/v;x", b"/v%3bx", b"/v%00", b"/v%0d%0a", b"/v%", b"/v%2", b"/v%zz", b"/v%252e",
    b"/%c0%af", b"/v#x", b"/v?x#y", b'/v"', b"/v<>", b"/v|", b"/v^", b"/v`", b"/v{}", b"a:80",
    b"ftp://a/v", b"http:/v", b"http://", b"http:///v", b"http://u@a/v", b"http://a b/v",
    b"https//a/v", b"//a/v", b"http://a/../v", b"/a/%2e./v", b"/.%2e/v",
)  # fmt: skip


def _targets() -> Iterator[Vector]:
    for target in TARGETS:
        yield Vector(f"target {shown(target)}", b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target, 400)
    for target, forwarded in (
        (b"/v", "/v"),
        (b"/%76", "/v"),
        (b"/v/", "/v/"),
        (b"/v?", "/v?"),
        (b"/v?a=%2e%2e/", "/v?a=%2e%2e/"),
        (b"/v?a?b", "/v?a?b"),
        (b"/a%20b", "/a%20b"),
        (b"/caf%c3%a9", "/caf%C3%A9"),
        (b"/a:b@c", "/a:b@c"),
        (b"http://b/v", "/v"),
        (b"HTTP://b/v", "/v"),
        (b"https://b/v?c", "/v?c"),
        (b"http://b", "/"),
        (b"http://b?c", "/?c"),
        (b"/...", "/..."),
        (b"/.well-known", "/.well-known"),
    ):
        yield Vector(
            f"target {shown(target)} is right",
            b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target,
            forwarded=(forwarded,),
        )
    yield Vector(
        "a target of 8,000 bytes",
        b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 7999),
        forwarded=("/" + "a" * 7999,),
    )
    yield Vector(
        "a target of 100 KB", b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 100_000), 414
    )
    yield Vector("a method of 100 KB", b"A" * 100_000 + b" /v HTTP/1.1\r\nHost: a\r\n\r\n", 400)
    yield Vector(
        "a field of 100 KB",
        b"GET /v HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        431,
    )
    yield Vector(
        "a name of 100 KB", b"GET /v HTTP/1.1\r\nHost: a\r\n" + b"x" * 100_000 + b": y\r\n\r\n", 431
    )
    yield Vector(
        "10,000 fields", b"GET /v HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10_000 + CRLF, 431
    )


def _old_clients() -> Iterator[Vector]:
    start = b"POST /v HTTP/1.0\r\nHost: a\r\n"
    yield Vector(
        "HTTP/1.0 in chunks", start + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN, 400
    )
    yield Vector(
        "HTTP/1.0 in chunks that lives on",
        start + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    )
    yield Vector(
        "HTTP/1.0 ends the connection",
        start + b"Content-Length: 5\r\n\r\nhello" + HIDDEN,
        forwarded=("/v",),
    )
    yield Vector(
        "HTTP/1.0 that lives on",
        start + b"Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello" + HIDDEN,
        forwarded=("/v", "/hidden"),
    )
    yield Vector("HTTP/1.0 without a host", b"GET /v HTTP/1.0\r\n\r\n", forwarded=("/v",))


def _expectations() -> Iterator[Vector]:
    for value in (
        b"200-ok",
        b"100-continue, x",
        b"x 100-continue",
        b"100",
        b"y\r\nExpect: 100-continue",
    ):
        yield Vector(
            f"expect {shown(value)}",
            post(b"Content-Length: 5\r\nExpect: " + value + CRLF, b"hello" + HIDDEN),
            417,
        )
    for value in (b"100-continue", b"100-Continue", b" 100-continue "):
        yield Vector(
            f"expect {shown(value)} and the body at once",
            post(b"Content-Length: 5\r\nExpect:" + value + CRLF, b"hello" + HIDDEN),
            forwarded=("/v", "/hidden"),
        )
    yield Vector(
        "expect with GET",
        b"GET /v HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n" + HIDDEN,
        forwarded=("/v", "/hidden"),
    )


def _upgrades() -> Iterator[Vector]:
    for lines in (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket/13x, y\r\n",
    ):
        yield Vector(
            f"upgrade {shown(lines)} is none",
            b"GET /v HTTP/1.1\r\nHost: a\r\n" + lines + CRLF + HIDDEN,
            forwarded=("/v", "/hidden"),
        )
    yield Vector(
        "upgrade with a body is none",
        post(
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", b"hello" + HIDDEN
        ),
        forwarded=("/v", "/hidden"),
    )
    yield Vector(
        "upgrade that the service refuses",
        b"GET /v HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n" + HIDDEN,
        forwarded=("/v",),
    )


def _pipelines() -> Iterator[Vector]:
    first = b"GET /v HTTP/1.1\r\nHost: a\r\n\r\n"
    yield Vector("a pipeline", first * 3 + HIDDEN, forwarded=("/v", "/v", "/v", "/hidden"))
    yield Vector(
        "behind close",
        b"GET /v HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + HIDDEN,
        forwarded=("/v",),
    )
    yield Vector("a byte too much", post(b"Content-Length: 4\r\n", b"hello" + HIDDEN), 400, ("/v",))
    yield Vector(
        "a byte behind nothing", post(b"Content-Length: 0\r\n", b"x" + HIDDEN), 400, ("/v",)
    )
    yield Vector(
        "half a head behind a body",
        post(b"Content-Length: 5\r\n", b"hello" + HIDDEN[:-2]),
        forwarded=("/v",),
    )
