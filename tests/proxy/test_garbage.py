"""Nothing of a request or a connection waits for the garbage collector, however it ended.

A worker looks for garbage rarely: what refers to itself would pile up for millions of requests.
"""

import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.support.data_plane import DATE, KEY, DataPlane, answered

AUTH = b"Host: a\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
POST = b"POST /v1/a HTTP/1.1\r\n" + AUTH
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"

REFUSED = {
    "no such route": b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    "no key": b"GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
    "no feature": b"GET /replay HTTP/1.1\r\n" + AUTH + b"\r\n",
    "no HTTP": b"GET  / HTTP/1.1\r\n\r\n",
    "no host": b"GET /v1/a HTTP/1.1\r\n\r\n",
    "odd path": b"GET /v1/../b HTTP/1.1\r\nHost: a\r\n\r\n",
    "large body": b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n",
    "broken chunks": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "not a cost": b"POST /json HTTP/1.1\r\n" + AUTH + b"Content-Length: 9\r\n\r\n" + b'{"n":"x"}',
    "for the gateway itself": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.fixture
def garbage() -> Iterator[Callable[[], list[str]]]:
    """Give what tells the gateway's objects that only the collector would find."""
    gc.disable()

    def found() -> list[str]:
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
            names = [f"{type(it).__module__}.{type(it).__qualname__}" for it in gc.garbage]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        return sorted({name for name in names if name.startswith(("gateway", "httptools"))})

    yield found
    gc.unfreeze()
    gc.enable()


async def refused(plane: DataPlane, request: bytes) -> None:
    client = await plane.client(request)
    await client.head()
    client.close()


async def only_connected(plane: DataPlane) -> None:
    client = await plane.client()
    await plane.until(lambda: plane.ports.connections)
    client.close()


async def half_a_head(plane: DataPlane) -> None:
    client = await plane.client(GET[:-4])
    await plane.turns(20)
    client.close()


async def passed(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await answered(client)
    client.close()
    upstream.close()


async def client_leaves(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    client.reset()
    await upstream.rest()
    upstream.close()


async def client_leaves_in_its_body(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(POST + b"Content-Length: 9\r\n\r\nbody")
    client.reset()
    await upstream.rest()
    upstream.close()


async def upstream_closes(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    upstream.close()
    await client.head()
    client.close()


async def upstream_breaks_off(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")
    await client.head()
    upstream.close()
    await client.rest()
    client.close()


async def upstream_babbles(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"who is there\r\n\r\n")
    await client.head()
    client.close()
    upstream.close()


async def upstream_is_slow(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await plane.advance(31)
    await client.head()
    client.close()
    upstream.close()


async def tunnel(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(
        b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    await upstream.send(
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi"
    )
    await client.until(b"hi")
    client.close()
    await upstream.rest()
    upstream.close()


ENDS = [
    only_connected, half_a_head, passed, client_leaves, client_leaves_in_its_body, upstream_closes,
    upstream_breaks_off, upstream_babbles, upstream_is_slow, tunnel,
]  # fmt: skip


async def nothing_is_left(
    plane: DataPlane, garbage: Callable[[], list[str]], play: Callable[[], Awaitable[None]]
) -> None:
    await play()
    await plane.deserted()
    gc.collect()
    gc.freeze()  # what is there from before is not what is looked for
    for _ in range(3):
        await play()
        await plane.deserted()
        await plane.until(lambda: not plane.ports.exchanges)
    await plane.turns(50)
    assert garbage() == []
    plane._records_seen = len(plane.journal.reader.read_unshipped(100).records)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_an_end_leaves_no_garbage(
    plane: DataPlane,
    garbage: Callable[[], list[str]],
    end: Callable[[DataPlane], Awaitable[None]],
) -> None:
    await nothing_is_left(plane, garbage, lambda: end(plane))


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_leaves_no_garbage(
    plane: DataPlane, garbage: Callable[[], list[str]], name: str
) -> None:
    await nothing_is_left(plane, garbage, lambda: refused(plane, REFUSED[name]))
