"""Cases about line ends, framing, chunks, pipelines, expectations and answers."""

from typing import Final

from conformance.differential.case import Case, chunked, get, post, request

_LINES: Final = {
    "lf-only": b"GET / HTTP/1.1\nHost: a.test\n\n",
    "lf-request-line": b"GET / HTTP/1.1\nHost: a.test\r\n\r\n",
    "lf-field": b"GET / HTTP/1.1\r\nHost: a.test\nX-A: 1\r\n\r\n",
    "lf-last": b"GET / HTTP/1.1\r\nHost: a.test\r\n\n",
    "cr-only": b"GET / HTTP/1.1\rHost: a.test\r\r",
    "crcrlf": b"GET / HTTP/1.1\r\r\nHost: a.test\r\r\n\r\r\n",
    "one-empty-before": b"\r\n" + get(),
    "two-empty-before": b"\r\n\r\n" + get(),
    "ten-empty-before": b"\r\n" * 10 + get(),
    "lf-before": b"\n" + get(),
    "blank-before": b" " + get(),
    "bytes-before": b"\xef\xbb\xbf" + get(),
    "tls-hello": b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + b"\x00" * 40,
    "http-2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "answer-as-request": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "proxy-protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get(),
}
LINES: Final = [Case(f"line-{name}", raw) for name, raw in _LINES.items()]

_LENGTHS: Final = {
    "plain": b"Content-Length: 5",
    "leading-zeros": b"Content-Length: 005",
    "plus": b"Content-Length: +5",
    "minus": b"Content-Length: -5",
    "hexadecimal": b"Content-Length: 0x5",
    "decimal": b"Content-Length: 5.0",
    "underscored": b"Content-Length: 0_5",
    "blank-inside": b"Content-Length: 5 5",
    "list-same": b"Content-Length: 5, 5",
    "list-other": b"Content-Length: 5, 6",
    "twice-same": b"Content-Length: 5\r\nContent-Length: 5",
    "twice-other": b"Content-Length: 5\r\nContent-Length: 6",
    "empty": b"Content-Length:",
    "letters": b"Content-Length: five",
    "arabic-digits": b"Content-Length: \xd9\xa5",
    "over-64-bits": b"Content-Length: 18446744073709551621",
    "blank-before-colon": b"Content-Length : 5",
    "folded": b"Content-Length:\r\n 5",
    "vertical-tab": b"Content-Length: \x0b5",
    "and-chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "and-identity": b"Content-Length: 5\r\nTransfer-Encoding: identity",
}
LENGTHS: Final = [
    *(Case(f"length-{name}", post(it, body=b"hello")) for name, it in _LENGTHS.items()),
    Case("length-none", post()),
    Case("length-too-short", post(b"Content-Length: 3", body=b"hello")),
    Case("length-too-long", post(b"Content-Length: 10", body=b"hello")),
    Case("length-get", request(b"GET /", b"Content-Length: 5", body=b"hello")),
    Case("length-head", request(b"HEAD /", b"Content-Length: 5", body=b"hello"), heads=(0,)),
    Case("length-get-zero", request(b"GET /", b"Content-Length: 0")),
    Case("length-megabyte", post(b"Content-Length: 1000000", body=b"a" * 1_000_000)),
]

_HELLO: Final = b"5\r\nhello\r\n0\r\n\r\n"
_CODINGS: Final = {
    "upper-case": b"Transfer-Encoding: CHUNKED",
    "blanks-around": b"Transfer-Encoding: \t chunked \t",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "list-twice": b"Transfer-Encoding: chunked, chunked",
    "identity": b"Transfer-Encoding: identity",
    "identity-then-chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "gzip": b"Transfer-Encoding: gzip",
    "gzip-then-chunked": b"Transfer-Encoding: gzip, chunked",
    "chunked-then-gzip": b"Transfer-Encoding: chunked, gzip",
    "parameter": b"Transfer-Encoding: chunked;q=1",
    "quoted": b'Transfer-Encoding: "chunked"',
    "other-word": b"Transfer-Encoding: xchunked",
    "empty": b"Transfer-Encoding:",
    "comma": b"Transfer-Encoding: ,chunked",
    "vertical-tab": b"Transfer-Encoding: \x0bchunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "blank-before-colon": b"Transfer-Encoding : chunked",
    "then-length": b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    "nul": b"Transfer-Encoding: chunked\x00",
}
CODINGS: Final = [
    *(Case(f"coding-{name}", post(it, body=_HELLO)) for name, it in _CODINGS.items()),
    Case("coding-1.0", request(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked", body=_HELLO)),
    Case("coding-get", request(b"GET /", b"Transfer-Encoding: chunked", body=_HELLO)),
]

_CHUNKS: Final = {
    "two": b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n",
    "none": b"0\r\n\r\n",
    "upper-case": b"A\r\n0123456789\r\n0\r\n\r\n",
    "lower-case": b"a\r\n0123456789\r\n0\r\n\r\n",
    "leading-zeros": b"0005\r\nhello\r\n0\r\n\r\n",
    "many-zeros": b"0" * 40 + b"5\r\nhello\r\n0\r\n\r\n",
    "last-zeros": b"5\r\nhello\r\n000\r\n\r\n",
    "extension": b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "extension-quoted": b'5;a="b;c\\"d"\r\nhello\r\n0\r\n\r\n',
    "extension-blanks": b"5 ; a = b\r\nhello\r\n0\r\n\r\n",
    "extension-empty": b"5;\r\nhello\r\n0\r\n\r\n",
    "extension-cr": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "extension-lf": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "extension-long": b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "extension-very-long": b"5;a=" + b"b" * 20_000 + b"\r\nhello\r\n0\r\n\r\n",
    "size-prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size-plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size-minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size-blank-before": b" 5\r\nhello\r\n0\r\n\r\n",
    "size-blank-behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "size-empty": b"\r\nhello\r\n0\r\n\r\n",
    "size-letters": b"xyz\r\nhello\r\n0\r\n\r\n",
    "size-underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size-over-64-bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size-lf": b"5\nhello\r\n0\r\n\r\n",
    "data-no-end": b"5\r\nhello0\r\n\r\n",
    "data-lf": b"5\r\nhello\n0\r\n\r\n",
    "data-cr": b"5\r\nhello\r0\r\n\r\n",
    "data-too-long": b"5\r\nhelloworld\r\n0\r\n\r\n",
    "data-two-ends": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "last-lf": b"5\r\nhello\r\n0\n\n",
    "last-half": b"5\r\nhello\r\n0\r\n",
    "last-missing": b"5\r\nhello\r\n",
    "trailer": b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    "trailers": b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
    "trailer-length": b"5\r\nhello\r\n0\r\nContent-Length: 1\r\n\r\n",
    "trailer-host": b"5\r\nhello\r\n0\r\nHost: b.test\r\n\r\n",
    "trailer-no-colon": b"5\r\nhello\r\n0\r\nX-Sum\r\n\r\n",
    "trailer-folded": b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n",
    "trailer-nul": b"5\r\nhello\r\n0\r\nX-Sum: \x00\r\n\r\n",
    "trailer-lf": b"5\r\nhello\r\n0\r\nX-Sum: 1\n\n",
    "trailer-long": b"5\r\nhello\r\n0\r\nX-Sum: " + b"a" * 50_000 + b"\r\n\r\n",
    "single-bytes": b"1\r\na\r\n" * 500 + b"0\r\n\r\n",
    "megabyte": b"f4240\r\n" + b"a" * 1_000_000 + b"\r\n0\r\n\r\n",
}
CHUNKS: Final = [Case(f"chunk-{name}", chunked(body)) for name, body in _CHUNKS.items()]

_FIRST, _SECOND = request(b"GET /first"), request(b"GET /second")
_BAD: Final = request(b"GET /bad", b"X-A : 1")
PIPELINES: Final = [
    Case("pipeline-two", _FIRST + _SECOND, 2),
    Case("pipeline-ten", _FIRST * 10, 10),
    Case("pipeline-hundred", _FIRST * 100, 100),
    Case("pipeline-post-get", post(b"Content-Length: 5", body=b"hello") + _SECOND, 2),
    Case("pipeline-chunked-get", chunked(_HELLO) + _SECOND, 2),
    Case("pipeline-head-get", request(b"HEAD /first") + _SECOND, 2, heads=(0,)),
    Case("pipeline-empty-line-between", _FIRST + b"\r\n" + _SECOND, 2),
    Case("pipeline-close-first", request(b"GET /first", b"Connection: close") + _SECOND, 2),
    Case("pipeline-close-second", _FIRST + request(b"GET /second", b"Connection: close"), 2),
    Case("pipeline-1.0", request(b"GET /first HTTP/1.0") + _SECOND, 2),
    Case(
        "pipeline-1.0-keep-alive",
        request(b"GET /first HTTP/1.0", b"Connection: keep-alive") + _SECOND,
        2,
    ),
    Case("pipeline-bad-second", _FIRST + _BAD + _SECOND, 3),
    Case("pipeline-bad-first", _BAD + _SECOND, 2),
    Case("pipeline-rubbish-behind", _FIRST + b"rubbish\r\n\r\n", 2),
    Case("pipeline-blank-behind", _FIRST + b"   ", 1),
    Case("pipeline-unknown-path-kept", request(b"GET /answer/500") + _SECOND, 2),
    Case("pipeline-body-without-length", request(b"POST /first", body=b"hello=world") + _SECOND, 2),
    Case("pipeline-smuggled-length", request(b"GET /first", b"Content-Length: 0") + _SECOND, 2),
]

EXPECTATIONS: Final = [
    Case(
        f"expect-{name}",
        request(line, *fields, body=body),
    )
    for name, line, fields, body in (
        ("continue", b"POST /", (b"Expect: 100-continue", b"Content-Length: 5"), b"hello"),
        ("upper-case", b"POST /", (b"Expect: 100-Continue", b"Content-Length: 5"), b"hello"),
        ("chunked", b"POST /", (b"Expect: 100-continue", b"Transfer-Encoding: chunked"), _HELLO),
        ("no-body", b"GET /", (b"Expect: 100-continue",), b""),
        ("length-zero", b"POST /", (b"Expect: 100-continue", b"Content-Length: 0"), b""),
        ("1.0", b"POST / HTTP/1.0", (b"Expect: 100-continue", b"Content-Length: 5"), b"hello"),
        ("unknown", b"POST /", (b"Expect: miracles", b"Content-Length: 5"), b"hello"),
        ("unknown-get", b"GET /", (b"Expect: miracles",), b""),
        ("list", b"POST /", (b"Expect: 100-continue, x", b"Content-Length: 5"), b"hello"),
        ("empty", b"POST /", (b"Expect:", b"Content-Length: 5"), b"hello"),
        ("blanks", b"POST /", (b"Expect:  100-continue ", b"Content-Length: 5"), b"hello"),
    )
]

ANSWERS: Final = [
    *(
        Case(f"answer-{kind}", request(b"GET /answer/" + kind.encode()))
        for kind in (
            "204", "204-length", "304", "304-length", "404", "500", "999", "chunked", "close",
            "interim", "keep-alive", "trailer", "long", "empty", "reason", "no-reason", "cookies",
            "hop-by-hop", "http-1.0", "lf-only", "folded", "two-lengths", "same-lengths",
            "length-and-chunked", "length-letters", "broken-off", "chunks-broken-off",
            "bad-chunk", "nothing", "rubbish", "blank-before-colon", "no-colon", "nul",
            "too-much", "status-99", "unasked-101", "gzip-coding", "long-head",
        )
    ),
    Case("answer-chunked-to-1.0", request(b"GET /answer/chunked HTTP/1.0")),
    Case("answer-close-to-1.0", request(b"GET /answer/close HTTP/1.0")),
    Case("answer-interim-to-1.0", request(b"GET /answer/interim HTTP/1.0")),
    Case("answer-head-length", request(b"HEAD /answer/length"), heads=(0,)),
    Case("answer-head-chunked", request(b"HEAD /answer/chunked"), heads=(0,)),
    Case("answer-head-close", request(b"HEAD /answer/close-head"), heads=(0,)),
    Case(
        "answer-early",
        request(b"POST /answer/early", b"Content-Length: 100", body=b"part of it"),
    ),
]  # fmt: skip

CASES: Final = [
    *LINES, *LENGTHS, *CODINGS, *CHUNKS, *PIPELINES, *EXPECTATIONS, *ANSWERS,
]  # fmt: skip
