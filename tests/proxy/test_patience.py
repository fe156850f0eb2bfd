"""Who keeps whom waiting: blame, deadlines and memory where one side goes on and the other not."""

import asyncio

import pytest

from gateway.proxy.connection import ClientConnection
from tests.support.data_plane import KEY, DataPlane, answered
from tests.support.wire import Wire

UPLOAD = b"POST /open/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
ASKING = b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000
"""Comes whole: no stream of it could be held back."""


async def unread(plane: DataPlane) -> tuple[Wire, Wire, ClientConnection]:
    """Return a client that reads nothing of so many answers that no more can be written to it."""
    client = await plane.client(receive_buffer_bytes=4096)
    upstream = None
    for _ in range(200):
        await client.send(ASKING)
        upstream = upstream or await plane.upstream.accept()
        await upstream.head()
        await upstream.send(BIG)
        await plane.record()
        (connection,) = plane.ports.connections
        assert isinstance(connection, ClientConnection)
        if connection.write_paused:
            return client, upstream, connection
    raise AssertionError("it takes all")


async def test_a_client_that_sends_no_body_is_to_blame_and_not_the_upstream(
    plane: DataPlane,
) -> None:
    failures = plane.ports.stats.worker.upstream_ejections
    client, upstream, _ = await plane.asked(
        b"POST /open/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    )
    (exchange,) = plane.ports.exchanges
    exchange.deadline = plane.ports.loop.time() + 1  # comes before the time for bodies is up

    await plane.advance(1.1)

    assert (await answered(client, b"POST")).status == 408
    record = await plane.record()
    assert (record.status, record.outcome, record.code) == (408, "refused", "request_timeout")
    assert plane.ports.stats.worker.upstream_ejections == failures
    upstream.close()


async def test_an_upstream_that_does_not_ask_for_the_body_is_late_itself(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(
        b"POST /open/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    )
    (exchange,) = plane.ports.exchanges
    exchange.deadline = plane.ports.loop.time() + 1

    await plane.advance(1.1)

    assert (await answered(client, b"POST")).status == 504
    await plane.record()
    upstream.close()


@pytest.mark.parametrize("broken", [b"ZZ\r\n", b""])
async def test_who_breaks_its_upload_off_has_had_the_answer(
    plane: DataPlane, broken: bytes
) -> None:
    """Semantics, what is billed: the status decides, as where a client leaves in the middle."""
    client, upstream, _ = await plane.asked(
        UPLOAD.replace(b"/open/a", b"/v1/a").replace(
            b"Host: a\r\n", b"Host: a\r\nX-API-Key: " + KEY.encode() + b"\r\n"
        )
    )
    await upstream.send(STREAM)
    await client.until(b"abc\r\n")
    if broken:
        await client.send(broken)
    else:
        await plane.advance(11)

    await client.rest()

    record = await plane.record()
    assert (record.status, record.outcome, record.billable) == (200, "client_gone", True)
    assert (await plane.counted())[1] == 1
    upstream.close()


async def test_an_answer_that_stops_after_an_upload_has_ended_is_given_up(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(UPLOAD)
    await upstream.send(STREAM)
    await client.until(b"abc\r\n")
    for _ in range(7):  # the upload moves while the time for the answer's next piece runs out
        await client.send(b"14\r\n" + b"y" * 20 + b"\r\n")
        await upstream.until(b"y" * 20 + b"\r\n")
        await plane.advance(9.5)
    await client.send(b"0\r\n\r\n")
    await upstream.until(b"0\r\n\r\n")

    await plane.advance(61)

    assert (await plane.record()).outcome == "upstream_failed"
    await client.rest()


async def test_who_reads_nothing_gets_nothing_further(plane: DataPlane) -> None:
    """Design 10: memory is bounded, however many requests come and whatever they ask for."""
    client, upstream, connection = await unread(plane)
    held_bytes = connection.transport.get_write_buffer_size()

    await client.send(ASKING * 3)
    await plane.turns(20)

    assert upstream.silent()
    assert not plane.ports.exchanges
    assert connection.transport.get_write_buffer_size() <= held_bytes
    for _ in range(3):
        asked = asyncio.ensure_future(upstream.head())
        while not asked.done():
            await client.exactly(5_000)
            await plane.turns()
        await upstream.send(BIG)
    await plane.records(3)
    client.close()
    upstream.close()
    await plane.until(lambda: not plane.ports.connections)


async def test_who_reads_nothing_is_refused_nothing_further(plane: DataPlane) -> None:
    client, _, connection = await unread(plane)
    held_bytes = connection.transport.get_write_buffer_size()

    await client.send(b"GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    await plane.turns(20)

    assert connection.transport.get_write_buffer_size() <= held_bytes
    client.close()
    await plane.until(lambda: not plane.ports.connections)


async def test_who_goes_on_reading_nothing_is_let_go(plane: DataPlane) -> None:
    """What was answered is still sent; what was asked behind it has not begun."""
    client, upstream, connection = await unread(plane)
    await client.send(ASKING)
    await plane.turns()

    await plane.advance(plane.ports.active.snapshot.limits.keep_alive_seconds + 1)

    assert connection.transport.is_closing()
    assert (await client.rest()).endswith(b"x" * 1000)
    assert await upstream.rest() == b""
    await plane.until(lambda: not plane.ports.connections)


@pytest.mark.parametrize("sent", [1, 99_000])
async def test_a_body_that_stops_is_a_timeout_though_answers_wait_unread(
    plane: DataPlane, sent: int
) -> None:
    """More than is taken of a body before its turn has come: then it is not read from at all."""
    client, _, connection = await unread(plane)
    await client.send(b"POST /open/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    await client.send(b"x" * sent)
    await plane.turns(50)
    assert connection.reading.is_paused == (sent > 1)

    for _ in range(4):
        await plane.advance(60)

    await plane.until(lambda: not plane.ports.connections)
    assert not plane.ports.exchanges
    client.close()


@pytest.mark.parametrize("begun", [True, False])
async def test_what_the_end_of_a_drain_cuts_off_is_nobodys_fault(
    plane: DataPlane, begun: bool
) -> None:
    """It is not billed, and its record does not say that the client left."""
    client, upstream, _ = await plane.asked(
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
    )
    if begun:
        await upstream.send(STREAM)
        await client.until(b"abc\r\n")
    (connection,) = plane.ports.connections
    assert isinstance(connection, ClientConnection)

    connection.cut()

    record = await plane.record()
    assert (record.status, record.outcome) == (200 if begun else 503, "stopped")
    assert (record.billable, record.reason) == (False, "stopped")
    assert (await plane.counted())[1] == 0
    await client.rest()
    upstream.close()
