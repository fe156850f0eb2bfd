"""Backpressure with bounded memory, deadlines, and who is to blame; ends in the middle."""

import asyncio

import pytest

from gateway.proxy.connection import ClientConnection
from tests.support.data_plane import DATE, KEY, DataPlane, answered
from tests.support.http_judge import requests_in
from tests.support.wire import Wire

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
POST = b"POST /v1/a HTTP/1.1\r\n" + AUTH
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
MEGABYTE = 1 << 20


def clients_of(plane: DataPlane) -> list[ClientConnection]:
    return [one for one in plane.ports.connections if isinstance(one, ClientConnection)]


def post(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def filled(plane: DataPlane, upstream: Wire, size: int) -> int:
    """Send until nobody takes any more; return how much was taken."""
    taken = 0
    piece = b"x" * 65536
    while taken < size:
        try:
            taken += upstream._socket.send(piece)
        except BlockingIOError:
            await plane.turns(50)
            try:
                taken += upstream._socket.send(piece)
            except BlockingIOError:
                return taken
        await plane.turns(2)
    return taken


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_slow_client_slows_the_upstream_and_fills_no_memory(
    plane: DataPlane, chunked: bool
) -> None:
    size = 64 * MEGABYTE
    client = await plane.client(GET, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    start = b"%x\r\n" % size if chunked else b""
    await upstream.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + start)

    taken = await filled(plane, upstream, size)

    assert taken < 32 * MEGABYTE
    (connection,) = plane.ports.connections
    assert connection.transport.get_write_buffer_size() < MEGABYTE  # type: ignore[attr-defined]
    (exchange,) = plane.ports.exchanges
    assert exchange.upstream is not None
    assert exchange.upstream.reading.is_paused
    client.reset()
    record = await plane.record()
    assert (record.outcome, record.billable) == ("client_gone", True)
    await plane.settled(idle=0)


async def test_a_slow_upstream_slows_the_client_and_fills_no_memory(plane: DataPlane) -> None:
    plane.upstream.buffer(4096)
    client = await plane.client(POST + b"Content-Length: 99999999\r\n\r\n")
    upstream = await plane.upstream.accept()

    taken = await filled(plane, client, 64 * MEGABYTE)

    assert taken < 32 * MEGABYTE
    (exchange,) = plane.ports.exchanges
    assert exchange.upstream is not None
    assert exchange.upstream.transport.get_write_buffer_size() < MEGABYTE
    assert exchange.client.reading.is_paused
    await plane.advance(29)
    assert client.silent()
    upstream.reset()
    assert (await answered(client, b"POST")).status == 502
    await plane.record()


async def test_an_upload_that_moves_may_take_longer_than_an_answer(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(
        b"POST /open/a HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n"
    )
    for _ in range(5):
        await client.send(b"0123456789")
        await upstream.exactly(10)
        await plane.advance(9)
    assert client.silent()
    await plane.advance(20)
    assert client.silent()
    await plane.advance(1.1)

    assert (await answered(client, b"POST")).status == 504

    assert (await plane.record()).code == "upstream_timeout"


async def test_a_body_that_comes_too_slowly_is_a_timeout_of_the_client(plane: DataPlane) -> None:
    """X1: a byte now and then is no upload but a way to hold a connection."""
    client, upstream, _ = await plane.asked(
        b"POST /open/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n"
    )
    await client.send(b"x" * 4000)  # what came fast does not pay for what comes slowly
    await upstream.exactly(4000)
    await plane.advance(1)
    for _ in range(12):
        assert client.silent()
        await client.send(b"x")
        await upstream.exactly(1)
        await plane.advance(5)
        if not client.silent():
            break

    assert (await answered(client, b"POST")).status == 408
    record = await plane.record()
    assert (record.code, record.bytes_in) == ("request_timeout", 4003)


async def test_a_client_is_not_slow_while_the_gateway_does_not_read(plane: DataPlane) -> None:
    size = 8_000_000
    client, upstream, _ = await plane.asked(
        b"POST /open/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    )
    sending = asyncio.ensure_future(client.send(b"x" * size))
    await plane.until(lambda: any(one.reading.is_paused for one in clients_of(plane)))
    for _ in range(4):
        await plane.advance(5)
    assert client.silent()
    await upstream.exactly(size)
    await sending
    await upstream.send(OK)
    assert (await answered(client, b"POST")).status == 200
    await plane.record()


async def test_a_body_that_does_not_come_is_a_timeout_of_the_client(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post(b"body")[:-2])
    await plane.advance(9)
    await client.send(b"d")
    await upstream.exactly(3)
    await plane.advance(9)
    assert client.silent()
    await plane.advance(1.1)

    answer = await answered(client, b"POST")

    assert (answer.status, answer.values(b"connection")) == (408, [b"close"])
    record = await plane.record()
    assert (record.outcome, record.code, record.billable) == ("refused", "request_timeout", False)
    assert await plane.counted() == (1, 0)
    assert await upstream.rest() == b""


async def test_an_upstream_that_takes_no_body_is_not_the_clients_fault(plane: DataPlane) -> None:
    plane.upstream.buffer(4096)
    client = await plane.client(
        b"POST /open/a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"
    )
    await plane.upstream.accept()
    await filled(plane, client, 64 * MEGABYTE)
    for _ in range(4):
        await plane.advance(15.1)

    assert (await answered(client, b"POST")).status == 504

    assert (await plane.record()).code == "upstream_timeout"


async def test_a_client_that_stops_reading_pays_for_what_it_got(plane: DataPlane) -> None:
    await plane.client(GET, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
    await filled(plane, upstream, 64 * MEGABYTE)

    await plane.advance(31)

    record = await plane.record()
    assert (record.outcome, record.billable) == ("client_gone", True)
    assert await plane.counted() == (1, 1)
    await plane.deserted()


async def test_a_client_that_reads_slowly_is_waited_for(plane: DataPlane) -> None:
    client = await plane.client(
        b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n", receive_buffer_bytes=4096
    )
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
    await filled(plane, upstream, 64 * MEGABYTE)
    for _ in range(3):
        await client.exactly(30_000)
        await plane.turns(20)
        await plane.advance(59)
    assert len(plane.ports.exchanges) == 1

    await plane.advance(61)
    await plane.advance(61)

    assert (await plane.record()).outcome == "client_gone"


async def test_a_connection_is_usable_after_a_slow_reader(plane: DataPlane) -> None:
    client = await plane.client(GET, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await upstream.send(b"%x\r\n%b\r\n0\r\n\r\n" % (400_000, b"x" * 400_000))
    await plane.record()
    await plane.settled(idle=1)

    other = await plane.client(GET)
    await upstream.head()
    await upstream.send(OK)

    assert (await answered(other)).body == b"ok"
    await plane.record()
    assert len((await answered(client)).body) == 400_000


async def test_who_never_reads_the_end_of_an_answer_does_not_stay(plane: DataPlane) -> None:
    client = await plane.client(GET, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6000000\r\n\r\n")
    await upstream.send(b"x" * 3_000_000)
    await client.exactly(2_500_000)
    await upstream.send(b"x" * 3_000_000)
    await client.exactly(2_500_000)
    await plane.record()

    for _ in range(3):
        await plane.advance(80)

    await plane.deserted()


# The end in the middle


async def test_a_client_that_leaves_in_its_head_leaves_no_trace(plane: DataPlane) -> None:
    client = await plane.client(GET[:30])
    await plane.until(lambda: plane.ports.connections)
    client.reset()
    await plane.deserted()
    await plane.records(0)


async def test_a_client_that_leaves_the_queue_for_a_connection_is_not_sent_on(
    plane: DataPlane,
) -> None:
    for _ in range(4):
        await plane.client(GET)
        await (await plane.upstream.accept()).head()
    waiting = await plane.client(GET)
    await plane.until(lambda: len(plane.pool._waiting) == 1)
    waiting.reset()
    await plane.until(lambda: len(plane.ports.connections) == 4)
    wire = plane.upstream.wires[0]
    await wire.send(OK)

    await plane.until(lambda: len(plane.journal.reader.read_unshipped(9).records) == 2)

    outcomes = {record.outcome for record in plane.journal.reader.read_unshipped(9).records}
    assert outcomes == {"completed", "client_gone"}
    assert plane.upstream.is_quiet()
    assert len(requests_in(wire.received)) == 1
    for wire in plane.upstream.wires[1:]:
        await wire.send(OK)
    await plane.records(5)
    assert (await plane.counted())[1] == 4
