"""Where a body ends: every spelling of a framing field, with bodies that hide a request.

Source: RFC 9112 6 and 7; STANDARDS 4.2.
"""

from collections.abc import Iterator
from typing import Final

from conformance.vector import CRLF, HIDDEN, Vector, post, shown


def framing_vectors() -> list[Vector]:
    """Return all of them; names are unique."""
    return [
        *_codings(), *_coding_lines(), *_lengths(), *_length_lines(), *_chunks(), *_bodies(),
        *_trailers(),
    ]  # fmt: skip


def _bodies_of_two_readings() -> Iterator[tuple[str, bytes, bytes]]:
    """Yield bodies that hide a request: behind the last chunk, or inside one."""
    last = b"0\r\n\r\n" + HIDDEN
    yield "hidden behind the last chunk", last, b"Content-Length: %d\r\n" % len(last)
    size = b"%x\r\n" % len(HIDDEN)
    yield (
        "hidden in a chunk",
        size + HIDDEN + b"\r\n0\r\n\r\n",
        b"Content-Length: %d\r\n" % len(size),
    )
    yield "without a length", last, b""


CODINGS: Final = (
    b"xchunked", b"chunkedx", b"x-chunked", b"chunk", b"chunked,", b",chunked", b", chunked",
    b"chunked, chunked", b"chunked,chunked", b"chunked, identity", b"identity",
    b"identity, identity", b"chunked, gzip", b"chunked;q=1", b"chunked; a=b", b"'chunked'",
    b'"chunked"', b"chun ked", b"chunked x", b"", b" ", b"\x0bchunked", b"\x0cchunked",
    b"chunked\x0b", b"chunked\x00", b"\x00chunked", b"chunked\x7f", b"\xa0chunked", b"chunked\xa0",
    b"ch\xfcnked", b"\xef\xbb\xbfchunked", b"chunked\r", b"\rchunked", b"\r\n chunked",
    b"\r\n\tchunked", b"chunked\r\n ", b"x\r\n chunked", b"chunked\r\n x", b"\nchunked",
    b"chunked\n", b"chunked, x\x00", b"{chunked}", b"(chunked)", b"chunked=1", b"chunked\t",
    b"%63hunked", b"CHUNKED,", b"gzip", b"deflate, gzip", b"cow, \x0bchunked",
)  # fmt: skip


def _codings() -> Iterator[Vector]:
    for body_name, body, length in _bodies_of_two_readings():
        for coding in CODINGS:
            yield Vector(
                f"coding {shown(coding)}, {body_name}",
                post(length + b"Transfer-Encoding: " + coding + CRLF, body),
                400,
            )
        for coding in (b"chunked", b"Chunked", b"CHUNKED", b" chunked", b"\tchunked", b"chunked "):
            data = post(length + b"Transfer-Encoding:" + coding + CRLF, body)
            forwarded = ("/v", "/hidden")
            name = f"coding {shown(coding)} in order, {body_name}"
            yield Vector(name, data, 400 if length else 0, () if length else forwarded)
        for coding in (b"gzip, chunked", b"identity, chunked", b"x,y,chunked"):
            name = f"coding {shown(coding)}, {body_name}"
            fields = length + b"Transfer-Encoding: " + coding + CRLF
            yield Vector(name, post(fields, body), 400 if length else 501)


CODING_LINES: Final = (
    b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked",
    b" Transfer-Encoding: chunked", b"\tTransfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked", b"X: y\r\r\nTransfer-Encoding: chunked",
    b"X: y\n\rTransfer-Encoding: chunked", b"Transfer-Encoding\x00: chunked",
    b"\x00Transfer-Encoding: chunked", b"Transfer-Encoding\xa0: chunked",
    b"Transfer-Encoding;: chunked", b"Transfer-Encoding chunked",
    b": chunked\r\nTransfer-Encoding: chunked", b"Transfer Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    b"Transfer-Encoding: x\r\nTransfer-Encoding:\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b'"Transfer-Encoding": chunked',
    b"Transfer-Encoding/x: chunked",
)  # fmt: skip


def _coding_lines() -> Iterator[Vector]:
    for body_name, body, length in _bodies_of_two_readings():
        for line in CODING_LINES:
            yield Vector(f"line {shown(line)}, {body_name}", post(length + line + CRLF, body), 400)
        for line in (
            b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: x\r\nTransfer-Encoding: y\r\nTransfer-Encoding: Chunked",
        ):
            name = f"line {shown(line)}, {body_name}"
            yield Vector(name, post(length + line + CRLF, body), 400 if length else 501)
    behind = b"0\r\n\r\n" + HIDDEN
    length = b"Content-Length: %d\r\n" % len(behind)
    for line in (
        b"Transfer_Encoding: chunked",
        b"TransferEncoding: chunked",
        b"X-TE: chunked",
        b"TE: chunked",
        b"Connection: transfer-encoding",
        b"Trailer: transfer-encoding",
        b"Content-Encoding: chunked",
        b"X-Transfer-Encoding: chunked",
    ):
        yield Vector(
            f"line {shown(line)} means nothing",
            post(length + line + CRLF, behind),
            forwarded=("/v",),
        )


LENGTHS: Final = (
    b"+5", b"-5", b"-0", b"0x5", b"0o5", b"5,5", b"5, 5", b"5, 6", b"5 6", b"5;", b"5;a=b", b"05",
    b"005", b"00", b"5.0", b"5e0", b"1_0", b"\x0b5", b"5\x0b", b"5\x00", b"\xef\xbc\x95", b"",
    b" ", b"abc", b"5abc", b"'5'", b'"5"', b"(5)", b"5\r", b"\r5", b"\r\n 5", b"5\r\n 5", b"\n5",
    b"99999999999999999999", b"18446744073709551621", b"4294967301x", b"\xb25", b"5%00", b"NaN",
)  # fmt: skip


def _lengths() -> Iterator[Vector]:
    for length in LENGTHS:
        yield Vector(
            f"length {shown(length)}",
            post(b"Content-Length: " + length + CRLF, b"hello" + HIDDEN),
            400,
        )
    for line in (
        b"Content-Length:5",
        b"content-length: 5",
        b"Content-Length:  5",
        b"Content-Length:\t5\t",
    ):
        yield Vector(
            f"length {shown(line)}",
            post(line + CRLF, b"hello" + HIDDEN),
            forwarded=("/v", "/hidden"),
        )


LENGTH_LINES: Final = (
    b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\ncontent-length: 5", b"Content-Length: 0\r\nContent-Length: 5",
    b"Content-Length : 5", b" Content-Length: 5", b"Content-Length\t: 5", b"Content-Length\x00: 5",
    b"X: y\r\n Content-Length: 5", b"X: y\nContent-Length: 5", b"X: y\rContent-Length: 5",
    b"Content Length: 5", b"Content-Length 5", b"\x0bContent-Length: 5",
)  # fmt: skip


def _length_lines() -> Iterator[Vector]:
    for line in LENGTH_LINES:
        yield Vector(f"line {shown(line)}", post(line + CRLF, b"hello" + HIDDEN), 400)
    for line in (
        b"Content_Length: 500",
        b"ContentLength: 500",
        b"X-Content-Length: 500",
        b"Connection: content-length",
    ):
        yield Vector(
            f"line {shown(line)} means nothing",
            post(b"Content-Length: 5\r\n" + line + CRLF, b"hello" + HIDDEN),
            forwarded=("/v", "/hidden"),
        )


CHUNKS: Final = (
    b"5 \r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\n\rhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n", b"5\r\nhello!!\r\n0\r\n\r\n", b"5\r\nhell\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\n", b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\n\n",
    b"5\r\nhello\r\n0\r\n\r\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n", b"0X5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n", b"-0\r\n\r\n", b"+0\r\n\r\n", b"5_0\r\nhello\r\n0\r\n\r\n",
    b"5.0\r\nhello\r\n0\r\n\r\n", b"5,\r\nhello\r\n0\r\n\r\n", b"'5'\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n", b"\r\n", b";a=b\r\nhello\r\n0\r\n\r\n",
    b"5h\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"100000005x\r\nhello\r\n0\r\n\r\n",
    b"\x005\r\nhello\r\n0\r\n\r\n", b"5\x00\r\nhello\r\n0\r\n\r\n", b"5;\r\nhello\r\n0\r\n\r\n",
    b"5;;\r\nhello\r\n0\r\n\r\n", b"5;a=\r\nhello\r\n0\r\n\r\n", b"5;=a\r\nhello\r\n0\r\n\r\n",
    b"5; a=b\r\nhello\r\n0\r\n\r\n", b"5 ;a=b\r\nhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n", b'5;a="\r\nhello\r\n0\r\n\r\n',
    b'5;a="b"c\r\nhello\r\n0\r\n\r\n', b"5;a[=b\r\nhello\r\n0\r\n\r\n",
    b"5;a=b,c\r\nhello\r\n0\r\n\r\n", b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    b"5;a\x80\r\nhello\r\n0\r\n\r\n", b"5;a=b c\r\nhello\r\n0\r\n\r\n",
    b"5#a\r\nhello\r\n0\r\n\r\n", b"5=a\r\nhello\r\n0\r\n\r\n",
)  # fmt: skip


def _chunks() -> Iterator[Vector]:
    for body in CHUNKS:
        yield Vector(
            f"chunks {shown(body)}", post(b"Transfer-Encoding: chunked\r\n", body + HIDDEN), 400
        )
    for body in (
        b"5\r\nhello\r\n0\r\n\r\n",
        b"05\r\nhello\r\n0\r\n\r\n",
        b"5;a\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0\r\n\r\n",
        b'5;a="b;\\"c"\r\nhello\r\n0\r\n\r\n',
        b"5\r\nhello\r\n00\r\n\r\n",
        b"5\r\nhello\r\n0;a\r\n\r\n",
        b"A\r\nhellohello\r\n0\r\n\r\n",
        b"a\r\n0\r\n\r\nGET /\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"1\r\n\n\r\n1\r\n\r\r\n0\r\n\r\n",
    ):
        yield Vector(
            f"chunks {shown(body)} are right",
            post(b"Transfer-Encoding: chunked\r\n", body + HIDDEN),
            forwarded=("/v", "/hidden"),
        )


def _bodies() -> Iterator[Vector]:
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"PATCH"):
        both = ("/v", "/hidden")
        start = method + b" /v HTTP/1.1\r\nHost: a\r\n"
        yield Vector(
            f"{method.decode()} with a length",
            start + b"Content-Length: 5\r\n\r\nhello" + HIDDEN,
            forwarded=both,
        )
        yield Vector(
            f"{method.decode()} with a request as its body",
            start + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
            forwarded=("/v",),
        )
        yield Vector(
            f"{method.decode()} in chunks",
            start + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + HIDDEN,
            forwarded=both,
        )
        yield Vector(f"{method.decode()} with nothing", start + CRLF + HIDDEN, forwarded=both)
        yield Vector(
            f"{method.decode()} of length 0",
            start + b"Content-Length: 0\r\n\r\n" + HIDDEN,
            forwarded=both,
        )


def _trailers() -> Iterator[Vector]:
    body = b"5\r\nhello\r\n0\r\n"
    for line in (
        b"X : y",
        b" X: y",
        b"X: y\r\n z",
        b"X",
        b": y",
        b"X: y\n",
        b"X: \x00",
        b"X\x00: y",
        b"X: a\rb",
        b"X y: z",
    ):
        yield Vector(
            f"trailer {shown(line)}",
            post(b"Transfer-Encoding: chunked\r\n", body + line + b"\r\n\r\n" + HIDDEN),
            400,
        )
    for line in (
        b"Content-Length: 50",
        b"Transfer-Encoding: chunked",
        b"Host: evil",
        b"X-Sum: 1",
        b"Authorization: Bearer evil",
        b"Content-Type: a/b",
        b"Connection: close",
        b"X:",
    ):
        yield Vector(
            f"trailer {shown(line)} ends nothing",
            post(b"Transfer-Encoding: chunked\r\n", body + line + b"\r\n\r\n" + HIDDEN),
            forwarded=("/v", "/hidden"),
        )
