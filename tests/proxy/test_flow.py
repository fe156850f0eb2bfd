"""Backpressure and the end of connections that nobody reads, on real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.proxy.flow import Reading, reset

MEGABYTE = 1 << 20


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """Yield both ends of a connection, the far one with a small receive buffer."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            made.set_result(transport)

    server = await loop.create_server(Accepted, "127.0.0.1", 0)
    far = socket.socket()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    far.setblocking(False)
    await loop.sock_connect(far, server.sockets[0].getsockname())
    near = await made
    try:
        yield near, far
    finally:
        near.abort()
        far.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


async def received(far: socket.socket) -> tuple[int, str]:
    """Return how much comes, and the name of what ends it."""
    loop = asyncio.get_running_loop()
    taken = 0
    try:
        while data := await loop.sock_recv(far, MEGABYTE):
            taken += len(data)
    except ConnectionError as error:
        return taken, type(error).__name__
    return taken, "end"


async def test_a_reset_drops_what_the_kernel_holds_for_who_does_not_read() -> None:
    async with connected() as (transport, far):
        transport.write(b"x" * 8 * MEGABYTE)

        reset(transport)
        for _ in range(3):  # the transport closes its socket in a turn of its own
            await asyncio.sleep(0)

        taken, ended = await received(far)
        assert ended == "ConnectionResetError"
        assert taken < MEGABYTE


async def test_a_reset_of_what_is_closed_already_does_nothing() -> None:
    async with connected() as (transport, far):
        transport.close()
        assert await received(far) == (0, "end")

        reset(transport)

        assert transport.is_closing()


async def test_reading_goes_on_when_the_last_reason_is_gone() -> None:
    async with connected() as (transport, _):
        reading = Reading(transport)

        reading.pause("a")
        reading.pause("b")
        reading.resume("a")
        reading.resume("never")
        assert (reading.is_paused, transport.is_reading()) == (True, False)
        reading.resume("b")

        assert (reading.is_paused, transport.is_reading()) == (False, True)
