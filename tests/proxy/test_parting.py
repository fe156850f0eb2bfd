"""What a client was sent arrives before its connection ends, and no accident resets it."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.proxy.connection import ClientConnection
from gateway.proxy.flow import undelivered_bytes
from gateway.proxy.parting import (
    IDLE_LINGER_SECONDS,
    LINGER_SECONDS,
    LOOK_SECONDS,
    LOOK_SECONDS_MAX,
    PARTING_SECONDS,
    STALLED_SECONDS,
    Parting,
)
from gateway.proxy.upstream import UpstreamConnection
from tests.support.data_plane import DATE, KEY, DataPlane, answer_half_closed, answered
from tests.support.wire import Wire

AUTH = b"Host: a\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
OLD = b"GET /v1/a HTTP/1.0\r\n" + AUTH + b"\r\n"
OLD_KEPT = b"GET /v1/a HTTP/1.0\r\nConnection: keep-alive\r\n" + AUTH + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
PART = b"".join(b"%09d\n" % number for number in range(12_000))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


LARGE = PART * 2
"""More than both kernels hold in small buffers, less than the gateway holds."""


async def taken_slowly(client: Wire) -> bytes:
    """Return the body, up to the end, read by one that begins late and takes its time."""
    await asyncio.sleep(0.2)
    await client.head()
    return await client.rest()


def connection_of(plane: DataPlane) -> ClientConnection:
    (connection,) = plane.ports.connections
    assert isinstance(connection, ClientConnection)
    return connection


# Answers that are broken off


@pytest.mark.parametrize("how", ["reset", "close", "garbage"])
@pytest.mark.parametrize("request_", [GET, OLD, OLD_KEPT])
@pytest.mark.parametrize("framing", [CHUNKED, LENGTH])
async def test_what_came_of_a_broken_answer_arrives_before_the_break(
    plane: DataPlane, framing: bytes, request_: bytes, how: str
) -> None:
    """RFC 9112 8: the client can tell, and has all that there was."""
    client = await plane.client(request_, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    is_chunked = framing == CHUNKED
    await upstream.send(framing + (b"f4240\r\n" if is_chunked else b"") + PART)
    if how == "garbage" and is_chunked:
        await upstream.send(b"x" * (1_000_000 - len(PART)) + b"no end of a chunk")
    elif how != "garbage":
        await plane.turns()
        upstream.reset() if how == "reset" else upstream.close()
    else:
        upstream.reset()

    got = await taken_slowly(client)

    if request_ == GET and is_chunked:
        got = b"".join(got.split(b"\r\n")[1::2])
    assert got[: len(PART)] == PART
    assert len(got) == (1_000_000 if how == "garbage" and is_chunked else len(PART))
    # Only a reset tells that an answer without length or chunks is not whole.
    assert client.ended == ("reset" if is_chunked and request_ != GET else "fin")
    record = await plane.record()
    assert record.bytes_out == len(got)
    await plane.deserted()


async def test_a_broken_answer_that_ends_with_its_connection_ends_with_a_reset(
    plane: DataPlane,
) -> None:
    client = await plane.client(OLD, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(TO_THE_END + PART)
    await plane.turns()
    upstream.reset()

    assert await taken_slowly(client) == PART
    assert client.ended == "reset"
    await plane.record()


async def stuck(plane: DataPlane) -> Wire:
    """Return a client that does not read a broken answer of which much is still to be sent."""
    client = await plane.client(OLD, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(CHUNKED + b"f4240\r\n" + PART)
    connection = connection_of(plane)
    await plane.until(lambda: connection.touched_at and plane.ports.exchanges)
    await plane.until(lambda: next(iter(plane.ports.exchanges)).bytes_out == len(PART))
    upstream.reset()
    await plane.record()
    assert not connection.transport.is_closing()
    return client


async def test_who_takes_nothing_of_it_is_cut_off(plane: DataPlane) -> None:
    client = await stuck(plane)
    await plane.advance(STALLED_SECONDS - 1)
    await asyncio.sleep(0.05)
    assert plane.ports.connections

    for _ in range(3):  # kernels may have moved a little at first
        await plane.advance(STALLED_SECONDS + 0.1)
        await asyncio.sleep(0.05)
    await plane.deserted()

    await client.rest()
    assert client.ended == "reset"


async def test_who_takes_it_byte_by_byte_is_cut_off_too(plane: DataPlane) -> None:
    client = await stuck(plane)
    connection = connection_of(plane)
    for _ in range(int(PARTING_SECONDS / STALLED_SECONDS) + 1):
        before = connection._parting._undelivered_bytes  # type: ignore[union-attr]
        while plane.ports.connections and before == connection._parting._undelivered_bytes:  # type: ignore[union-attr]
            await client.exactly(1000)
            await asyncio.sleep(0.025)
        await plane.advance(STALLED_SECONDS - 0.5)
        await asyncio.sleep(0.025)

    await plane.deserted()
    await client.rest()
    assert client.ended == "reset"


class Looks:
    """A loop that notes when it was to look again, and a transport that gets nothing delivered."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.again: Callable[[], None] | None = None

    def time(self) -> float:
        return 0.0

    def call_later(self, seconds: float, look: Callable[[], None]) -> None:
        self.pauses.append(seconds)
        self.again = look

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 1

    def get_extra_info(self, _name: str) -> None:
        return None


def test_it_looks_ever_less_often() -> None:
    """Ten thousand clients that part at once must leave the worker its time."""
    looks = Looks()
    Parting(looks, looks, by_reset=False).look()  # type: ignore[arg-type]
    for _ in range(9):
        assert looks.again is not None
        looks.again()

    assert looks.pauses[:3] == [LOOK_SECONDS, 2 * LOOK_SECONDS, 4 * LOOK_SECONDS]
    assert looks.pauses[-1] == LOOK_SECONDS_MAX


async def test_what_the_client_does_meanwhile_changes_nothing(plane: DataPlane) -> None:
    client = await stuck(plane)
    connection = connection_of(plane)
    await client.send(GET + b"anything else")
    client.half_close()
    await plane.until(lambda: connection.had_eof)
    await plane.advance(5)

    assert await taken_slowly(client) == PART
    assert client.ended == "reset"
    assert not plane.ports.exchanges
    assert len(plane.upstream.wires) == 1


# The last answer of a connection


async def begin_drain(plane: DataPlane) -> None:
    plane.ports.is_draining = True
    await plane.turns()


@pytest.mark.parametrize("request_", [GET, OLD_KEPT])
@pytest.mark.parametrize("streamed", [True, False])
async def test_what_ends_a_connection_is_decided_when_the_answer_begins(
    plane: DataPlane, request_: bytes, *, streamed: bool
) -> None:
    """RFC 9112 9.6: the request came before the drain, its answer says ``close``."""
    client, upstream, _ = await plane.asked(request_)
    await begin_drain(plane)
    if streamed:
        await upstream.send(OK[:-1])
        await client.until(b"\r\nConnection: close\r\n")
        await upstream.send(OK[-1:])
    else:
        await upstream.send(OK)
        await client.until(b"\r\nConnection: close\r\n")
    await client.until(b"ok")

    assert await client.rest() == b""
    assert client.ended == "fin"
    await plane.record()


async def test_a_request_behind_the_last_answer_is_not_begun_and_resets_nothing(
    plane: DataPlane,
) -> None:
    client, upstream, _ = await plane.asked(GET + GET + GET)
    await begin_drain(plane)
    await upstream.send(OK)
    await client.until(b"\r\nConnection: close\r\n")
    await client.send(GET * 20)
    await client.until(b"ok")

    assert await client.rest() == b""
    assert client.ended == "fin"
    await client.send(GET * 20)  # it has not seen it yet
    await plane.turns()
    assert client.ended == "fin"
    await plane.record()
    await plane.settled(idle=1)
    await plane.advance(LINGER_SECONDS + 0.1)
    await plane.deserted()
    assert len(plane.upstream.wires) == 1


async def test_what_follows_an_upgrade_that_was_not_granted_resets_nothing(
    plane: DataPlane,
) -> None:
    """It may be a frame as well as a request, so the connection ends; the client asked for none."""
    fields = b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    client, upstream, _ = await plane.asked(GET[:-2] + fields)
    await client.send(b"early")
    await upstream.send(OK)
    await plane.record()
    await client.send(b"late" * 10)
    await plane.turns()
    await client.send(b"later" * 10)

    assert (await answered(client)).values(b"connection") == [b"close"]
    assert await client.rest() == b""
    assert client.ended == "fin"
    await plane.advance(LINGER_SECONDS + 0.1)
    await plane.deserted()


async def slow_reader(plane: DataPlane, request: bytes, *, drains: bool) -> Wire:
    """Return a client that has a whole answer waiting for it, the end of it in the gateway."""
    client = await plane.client(request, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    sock = connection_of(plane).transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    if drains:
        await begin_drain(plane)
    await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE)
    await plane.record()
    assert connection_of(plane).transport.get_write_buffer_size() > 0
    return client


@pytest.mark.parametrize("fields", [b"", b"Connection: close\r\n"])
async def test_a_drain_waits_for_the_slow_reader_of_a_whole_answer(
    plane: DataPlane, fields: bytes
) -> None:
    client = await slow_reader(plane, GET[:-2] + fields + b"\r\n", drains=True)
    connection = connection_of(plane)

    assert connection.leave(plane.ports.loop.time() + LINGER_SECONDS + 0.1)

    await client.head()
    assert await client.rest() == LARGE
    assert client.ended == "fin"
    assert not connection.leave(plane.ports.loop.time() + LINGER_SECONDS + 0.1)


async def test_a_reader_is_slow_but_not_stalled_while_something_arrives(plane: DataPlane) -> None:
    """What the kernel holds moves long before the gateway may write again."""
    client = await slow_reader(plane, GET, drains=False)
    keep_alive_seconds = plane.ports.active.snapshot.limits.keep_alive_seconds
    transport, got = connection_of(plane).transport, b""
    for _ in range(4):
        before = undelivered_bytes(transport)
        while undelivered_bytes(transport) == before:
            got += await client.exactly(500)
            await asyncio.sleep(0.01)
        await plane.advance(keep_alive_seconds + 1)

    got += await client.rest()

    assert client.ended == "fin"
    assert got.endswith(LARGE)


async def test_own_answers_say_it_too(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await begin_drain(plane)
    upstream.reset()

    answer = await answered(client)

    assert (answer.status, answer.values(b"connection")) == (502, [b"close"])
    assert await client.rest() == b""
    assert client.ended == "fin"
    await plane.record()
    for request in (
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        client = await plane.client(request)
        answer = await answered(client, request.partition(b" ")[0])
        assert answer.values(b"connection") == [b"close"]
        assert await client.rest() == b""
        await plane.record()


async def test_a_client_that_was_not_told_has_its_next_request_served(plane: DataPlane) -> None:
    """The answer's head came before the drain; the request behind it must not be lost."""
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK[:-1])
    assert b"Connection" not in await client.head()
    await begin_drain(plane)
    await upstream.send(OK[-1:])
    await client.until(b"ok")
    await plane.record()
    connection = connection_of(plane)
    now = plane.ports.loop.time()
    assert connection.leave(now)
    await client.send(GET)
    await upstream.head()
    assert connection.leave(now)
    await upstream.send(OK)

    assert (await answered(client)).values(b"connection") == [b"close"]

    await plane.record()
    assert await client.rest() == b""


async def test_an_idle_connection_is_closed_and_resets_nothing(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await answered(client)
    await plane.record()
    await begin_drain(plane)
    connection, now = connection_of(plane), plane.ports.loop.time()
    assert connection.leave(now + IDLE_LINGER_SECONDS)

    assert await client.rest() == b""
    assert client.ended == "fin"
    await client.send(GET)  # it was on its way
    await plane.turns()
    assert await client.rest() == b""
    assert client.ended == "fin"
    assert connection.leave(now)
    assert not connection.leave(now + IDLE_LINGER_SECONDS + 5)
    assert not plane.ports.exchanges


async def test_who_has_closed_its_side_gets_its_last_answer_marked(
    plane: DataPlane, tmp_path: Path
) -> None:
    answer_half_closed(plane, tmp_path)
    client, upstream, _ = await plane.asked(b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    await plane.turns()
    assert isinstance(plane.pool._open.copy().pop(), UpstreamConnection)
    await upstream.send(OK)
    assert (await answered(client)).values(b"connection") == []
    client.half_close()
    await plane.until(lambda: connection_of(plane).had_eof)
    await upstream.head()
    await upstream.send(OK)

    assert (await answered(client)).values(b"connection") == [b"close"]
    assert await client.rest() == b""
    await plane.records(2)
