"""A body goes on to its request as it comes, up to where its framing says, wherever it is cut."""

import asyncio
from dataclasses import replace

import pytest

from gateway.config.snapshot import ClientLimits
from gateway.errors import RefusalCode
from gateway.proxy.exchange import ClientSide, Exchange
from gateway.proxy.incoming_body import IncomingBody

LIMITS = ClientLimits(
    head_bytes_max=4096,
    header_count_max=16,
    target_bytes_max=1024,
    head_seconds=10,
    body_idle_seconds=30,
    keep_alive_seconds=75,
    json_body_bytes_max=65536,
    connections_max=10,
    pipelined_max=4,
)
CHUNKED = b"3\r\nabc\r\n2\r\nde\r\n0\r\nA-B: 1\r\na_b: 2\r\n\r\n"
NEXT = b"GET / HTTP/1.1\r\n"


def exchange_of(*, length: int = 0, is_chunked: bool = False) -> Exchange:
    exchange = Exchange(ClientSide(asyncio.get_running_loop()))
    exchange.content_length = length
    exchange.is_chunked = is_chunked
    return exchange


async def test_a_length_says_where_it_ends() -> None:
    for cut in range(6):
        exchange = exchange_of(length=5)
        body = IncomingBody(exchange, LIMITS)
        data = b"abcde"

        at = body.feed(exchange, data[:cut], 0) if cut else 0
        assert body.is_complete == (cut == 5)
        if cut < 5:
            at = cut + body.feed(exchange, data[cut:] + NEXT, 0)

        assert (at, body.is_complete, body.trailers) == (5, True, [])
        assert b"".join(exchange.body_chunks) == data


async def test_it_may_begin_behind_something_else() -> None:
    exchange = exchange_of(length=2)
    body = IncomingBody(exchange, LIMITS)

    assert body.feed(exchange, b"head" + b"ab" + NEXT, 4) == 6

    assert exchange.body_chunks == [b"ab"]


@pytest.mark.parametrize("takes", ["drop", "forward"])
async def test_chunks_say_where_it_ends_wherever_they_are_cut(takes: str) -> None:
    for cut in range(1, len(CHUNKED)):
        exchange = exchange_of(is_chunked=True)
        body = IncomingBody(exchange, replace(LIMITS, underscores=takes))

        assert body.feed(exchange, CHUNKED[:cut], 0) == cut
        assert not body.is_complete
        assert cut + body.feed(exchange, CHUNKED[cut:] + NEXT, 0) == len(CHUNKED)

        assert body.is_complete
        assert b"".join(exchange.body_chunks) == b"abcde"
        underscored = [(b"a_b", b"2")] if takes == "forward" else []
        assert body.trailers == [(b"A-B", b"1"), *underscored]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"3\r\nabcd\r\n", RefusalCode.BAD_REQUEST),
        (b"0\r\nA: " + b"x" * LIMITS.head_bytes_max + b"\r\n\r\n", RefusalCode.HEAD_TOO_LARGE),
    ],
)
async def test_behind_broken_framing_nothing_is_read(data: bytes, code: RefusalCode) -> None:
    exchange = exchange_of(is_chunked=True)
    body = IncomingBody(exchange, LIMITS)

    assert body.feed(exchange, data + NEXT, 0) == len(data + NEXT)

    assert body.refusal is not None
    assert body.refusal.code is code
    assert not body.is_complete
