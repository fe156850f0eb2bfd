"""A client that leaves while it is answered or not read from, and one that is not gone at all."""

import asyncio
from pathlib import Path

import pytest

from gateway.proxy.connection import ClientConnection
from gateway.proxy.departures import departed, has_departed
from tests.proxy.leavers import (
    CHUNKED,
    DONE,
    EVENTS,
    FREE,
    OK,
    WAYS,
    SlowJournal,
    asking,
    books,
    chunk,
    leave,
    post,
)
from tests.support.data_plane import DataPlane, answer_half_closed, answered
from tests.support.http_judge import requests_in
from tests.support.wire import Wire

# Answered in part


@WAYS
@pytest.mark.parametrize("request_", [asking(), post()])
@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        CHUNKED + chunk(b"half"),
        EVENTS + chunk(b"half"),
    ],
)
async def test_an_answer_that_has_begun_is_cancelled_and_its_status_decides(
    plane: DataPlane, way: str, request_: bytes, begun: bytes
) -> None:
    client, upstream, _ = await plane.asked(request_)
    await upstream.send(begun)
    await client.until(b"half")
    leave(client, way)

    assert books(await plane.record()) == (200, "client_gone", True, "success")
    assert (await plane.counted())[1] == 1
    await upstream.rest()
    await plane.settled(idle=0)
    await plane.deserted()


async def test_what_only_the_connections_end_would_end_is_seen_to_be_cut(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(asking().replace(b"HTTP/1.1", b"HTTP/1.0"))
    await upstream.send(CHUNKED + chunk(b"half"))
    await client.until(b"half")
    client.half_close()

    await client.rest()
    assert client.ended == "reset"
    assert books(await plane.record()) == (200, "client_gone", True, "success")


@WAYS
async def test_who_leaves_with_much_unread_is_gone(plane: DataPlane, way: str) -> None:
    """Between two pieces, while the write buffer is full."""
    client = await plane.client(asking(), receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(CHUNKED)
    (connection,) = plane.pool._open
    while not connection.reading.is_paused:
        await upstream.send(chunk(b"x" * 60_000))
        await plane.turns()
    leave(client, way)

    assert books(await plane.record()) == (200, "client_gone", True, "success")
    if way == "half_close":
        for _ in range(3):
            await plane.advance(80)
    await plane.deserted()


@WAYS
@pytest.mark.parametrize("last", [DONE, b'event: message_stop\ndata: {"type":"message_stop"}\n\n'])
@pytest.mark.parametrize("cut", [0, 1, 5, 13])
async def test_who_leaves_after_the_last_event_was_answered(
    plane: DataPlane, way: str, last: bytes, cut: int
) -> None:
    client, upstream, _ = await plane.asked(post())
    await upstream.send(EVENTS + chunk(b"data: {}\n\n"))
    for piece in (last[:cut], last[cut:]):
        if piece:
            await upstream.send(chunk(piece))
            await client.until(piece + b"\r\n")
    leave(client, way)

    record = await plane.record()
    assert books(record) == (200, "completed", True, "success")
    await upstream.rest()
    await plane.settled(idle=0)
    await plane.deserted()


async def test_who_leaves_before_the_last_event_is_whole_is_gone(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post())
    await upstream.send(EVENTS + chunk(DONE[:-1]))
    await client.until(DONE[:-1])
    client.close()

    assert (await plane.record()).outcome == "client_gone"


async def test_bytes_that_were_answered_by_an_rst_are_never_completed(plane: DataPlane) -> None:
    """The end of the answer comes in the same turn as the client's RST, and is looked at first."""
    for _ in range(20):
        client, upstream, _ = await plane.asked(asking())
        await upstream.send(CHUNKED + chunk(b"half"))
        await client.until(b"half")
        client.reset()
        upstream._socket.send(b"0\r\n\r\n")  # no turn of the loop in between
        assert (await plane.record()).outcome == "client_gone"
        upstream.close()


# Not gone


@pytest.mark.sources
async def test_an_answer_whose_record_is_written_still_comes(plane: DataPlane) -> None:
    real = plane.ports.journal
    slow = plane.ports.journal = SlowJournal(real)
    client, upstream, _ = await plane.asked(asking())
    await upstream.send(OK)
    await plane.until(lambda: slow.waiting)
    client.half_close()
    await plane.turns(20)
    slow.write()

    assert (await client.rest()).endswith(b"\r\n\r\nok")
    plane.ports.journal = real
    assert (await plane.record()).outcome == "completed"
    await plane.deserted()


@pytest.mark.sources
async def test_over_tls_nothing_is_kept_that_the_loop_would_warn_of(plane: DataPlane) -> None:
    """``eof_received`` may not return True there: asyncio and uvloop log it each time."""
    real = plane.ports.journal
    slow = plane.ports.journal = SlowJournal(real)
    client, upstream, _ = await plane.asked(asking())
    await upstream.send(OK)
    await plane.until(lambda: slow.waiting)
    (connection,) = plane.ports.connections
    assert isinstance(connection, ClientConnection)
    connection._scheme = b"https"

    assert not connection.eof_received()

    slow.write()
    plane.ports.journal = real
    assert (await plane.record()).outcome == "completed"
    client.close()
    await plane.deserted()


async def test_a_refusal_is_given_to_who_closes_its_side_behind_its_request(
    plane: DataPlane,
) -> None:
    client = await plane.client(b"GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n")
    client.half_close()

    assert (await answered(client)).status == 401
    assert (await plane.record()).outcome == "refused"
    await plane.deserted()


async def test_who_leaves_at_rest_leaves_no_record(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(asking())
    await upstream.send(OK)
    await answered(client)
    await plane.record()
    client.half_close()

    assert await client.rest() == b""
    await plane.deserted()
    await plane.records(0)


# Pipelines


@WAYS
async def test_what_was_asked_behind_it_is_dropped_and_costs_nothing(
    plane: DataPlane, way: str
) -> None:
    client, upstream, _ = await plane.asked(
        post() + asking(path=b"/v1/b") + post(path=b"/v1/c") + asking()[:20]
    )
    leave(client, way)
    await plane.deserted()
    await upstream.send(OK)

    assert books(await plane.record()) == (200, "client_gone", True, "success")
    assert await plane.counted() == (1, 1)
    await plane.settled(idle=1)
    assert len(requests_in(upstream.received)) == 1


@WAYS
async def test_a_broken_off_body_behind_it_is_dropped_with_it(plane: DataPlane, way: str) -> None:
    client, upstream, _ = await plane.asked(asking() + post()[:-1])
    leave(client, way)

    assert books(await plane.record()) == FREE
    await upstream.rest()
    await plane.deserted()


async def test_what_was_answered_before_it_still_comes(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(asking() + asking(path=b"/v1/b"))
    await upstream.send(OK)
    await upstream.head()
    client.half_close()

    assert (await client.rest()).endswith(b"\r\n\r\nok")
    assert [r.outcome for r in await plane.records(2)] == ["completed", "client_gone"]


# While the gateway does not read from the client


async def paused(plane: DataPlane) -> tuple[Wire, Wire, ClientConnection]:
    """Return a client that is not read from: more has come than the upstream takes."""
    plane.upstream.buffer(4096)
    client, upstream, _ = await plane.asked(post(b"x" * 8_000_000)[:-7_900_000])
    (connection,) = plane.ports.connections
    assert isinstance(connection, ClientConnection)
    sent = 0
    while not connection.reading.is_paused or sent < 50:
        try:
            client._socket.send(b"x" * 60_000)
        except BlockingIOError:
            break
        await plane.turns(2)
        sent += 1
    assert connection.reading.is_paused
    return client, upstream, connection


@WAYS
async def test_it_is_noticed_within_a_second_behind_bytes_that_nobody_read(
    plane: DataPlane, way: str
) -> None:
    client, upstream, _ = await paused(plane)
    leave(client, way)
    await asyncio.sleep(0.01)
    assert plane.ports.exchanges

    await plane.advance(1)

    assert books(await plane.record()) == FREE
    assert (await plane.counted())[1] == 0
    await upstream.rest()
    await plane.deserted()


@WAYS
async def test_a_full_pipeline_is_noticed_too(plane: DataPlane, way: str) -> None:
    client, upstream, _ = await plane.asked(asking() * 40)
    (connection,) = plane.ports.connections
    assert isinstance(connection, ClientConnection)
    await plane.until(lambda: connection.reading.is_paused)
    leave(client, way)
    await asyncio.sleep(0.01)
    await plane.advance(1)

    assert books(await plane.record()) == FREE
    assert await plane.counted() == (1, 0)
    await upstream.rest()
    await plane.deserted()


async def test_who_is_only_slow_stays(plane: DataPlane) -> None:
    client, upstream, connection = await paused(plane)
    for _ in range(3):
        await plane.advance(1)
    assert not connection.transport.is_closing()
    client.reset()
    await asyncio.sleep(0.01)
    await plane.advance(1)
    await plane.record()
    upstream.close()


# Where half-closed clients are answered


async def test_then_a_client_may_close_its_side(plane: DataPlane, tmp_path: Path) -> None:
    answer_half_closed(plane, tmp_path)
    client, upstream, _ = await plane.asked(post() + asking(path=b"/v1/b") + post()[:-1])
    client.half_close()
    await plane.turns(20)
    await upstream.send(OK)
    await upstream.head()
    await upstream.send(OK)

    assert (await client.rest()).count(b"\r\n\r\nok") == 2
    assert [r.outcome for r in await plane.records(2)] == ["completed", "completed"]
    await plane.settled(idle=1)
    await plane.deserted()


async def test_then_a_body_that_is_broken_off_is_an_abort_all_the_same(
    plane: DataPlane, tmp_path: Path
) -> None:
    answer_half_closed(plane, tmp_path)
    client, upstream, _ = await plane.asked(post()[:-2])
    client.half_close()

    assert await client.rest() == b""
    assert books(await plane.record()) == FREE
    await upstream.rest()


@pytest.mark.parametrize("way", ["half_close", "reset"])
async def test_then_only_an_rst_is_noticed_while_nobody_reads(
    plane: DataPlane, tmp_path: Path, way: str
) -> None:
    answer_half_closed(plane, tmp_path)
    client, upstream, _ = await plane.asked(asking() * 40)
    (connection,) = plane.ports.connections
    assert isinstance(connection, ClientConnection)
    await plane.until(lambda: connection.reading.is_paused)
    leave(client, way)
    await asyncio.sleep(0.01)
    await plane.advance(1)

    assert bool(plane.ports.exchanges) == (way == "half_close")
    if way == "half_close":
        for _ in range(39):
            await upstream.send(OK)
            await upstream.head()
        await upstream.send(OK)
        assert (await client.rest()).count(b"\r\n\r\nok") == 40
        await plane.records(40)
    else:
        await plane.record()
        upstream.close()


# What the kernel is asked


class Connected:
    """A connection of which only the transport matters."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport


async def test_the_kernel_knows_who_left_and_how() -> None:
    transports: list[asyncio.Transport] = []

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            transports.append(transport)

    server = await asyncio.get_running_loop().create_server(Deaf, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wires = []
    for _ in range(4):
        wire = await Wire.connect(port)
        await wire.send(b"unread")
        wires.append(wire)
        while len(transports) < len(wires):
            await asyncio.sleep(0.001)
    wires[1].half_close()
    wires[2].reset()
    transports[3].abort()
    await asyncio.sleep(0.01)
    watched = [Connected(transport) for transport in transports]

    assert departed(watched) == [(watched[1], False), (watched[2], True)]
    assert departed([]) == []
    fins = [has_departed(transport, by_fin=True) for transport in transports]
    resets = [has_departed(transport, by_fin=False) for transport in transports]
    assert (fins, resets) == ([False, True, True, True], [False, False, True, True])

    for wire in (wires[0], wires[1], wires[3]):
        wire.close()
    for transport in transports:
        transport.abort()
    server.close()
    await asyncio.sleep(0.01)
