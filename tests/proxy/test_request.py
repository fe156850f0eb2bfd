"""The story of a request, end to end in one process: bytes in, bytes out, books."""

from tests.support.data_plane import KEY, DataPlane, answered

GET = b"GET /v1/a HTTP/1.1\r\nHost: api.example\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_what_passes_is_sent_on_charged_and_recorded_once(plane: DataPlane) -> None:
    client, upstream, head = await plane.asked(GET)
    assert head.startswith(b"GET /v1/a HTTP/1.1\r\nHost: api.example\r\n")
    assert KEY.encode() not in head
    await upstream.send(OK)

    answer = await answered(client)

    assert (answer.status, answer.body) == (200, b"ok")
    record = await plane.record()
    assert (record.outcome, record.status, record.billable) == ("completed", 200, True)
    assert await plane.counted() == (1, 1)
    await plane.settled(idle=1)
