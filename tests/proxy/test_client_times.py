"""A client that rests or sends too slowly: closed in time, and told why if it had begun."""

from tests.support.data_plane import DATE, KEY, DataPlane, answered

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"


async def test_a_head_that_comes_too_slowly_is_refused(plane: DataPlane) -> None:
    client = await plane.client()
    await plane.until(lambda: plane.ports.connections)
    for byte in GET[:4]:
        await client.send(bytes([byte]))
        await plane.turns(20)
        await plane.advance(3)
        assert client.silent() or byte == GET[3]

    answer = await answered(client)

    assert (answer.status, answer.values(b"connection")) == (408, [b"close"])
    assert await client.rest() == b""
    client.close()
    await plane.deserted()


async def test_a_connection_on_which_nothing_goes_on_is_closed(plane: DataPlane) -> None:
    fresh = await plane.client()
    used, upstream, _ = await plane.asked(GET)
    await plane.advance(14)
    await upstream.send(OK)
    await answered(used)
    await plane.record()
    await plane.advance(62)
    assert await fresh.rest() == b""
    assert used.silent()
    await plane.advance(14)

    assert await used.rest() == b""
    await plane.deserted()


async def test_a_body_that_does_not_come_is_refused(plane: DataPlane) -> None:
    head = b"POST /v1/a HTTP/1.1\r\n" + AUTH + b"Content-Length: 100\r\n\r\n"
    client, upstream, _ = await plane.asked(head + b"x")

    await plane.advance(11)

    answer = await answered(client, b"POST")
    assert (answer.status, answer.values(b"connection")) == (408, [b"close"])
    assert (await plane.record()).code == "request_timeout"
    await upstream.rest()
