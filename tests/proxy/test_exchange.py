"""Bodies both ways: framing, interim answers, trailers, backpressure, and who is to blame."""

import pytest

from gateway.proxy.upstream import INTERIM_MAX
from tests.support.data_plane import DATE, KEY, DataPlane, answered, judged
from tests.support.http_judge import requests_in
from tests.support.wire import Wire

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
POST = b"POST /v1/a HTTP/1.1\r\n" + AUTH
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
MEGABYTE = 1 << 20


def post(body: bytes, fields: bytes = b"") -> bytes:
    return POST + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def goes_on(plane: DataPlane, client: Wire, upstream: Wire) -> None:
    """Check that both connections carry the next request."""
    await client.send(GET)
    await upstream.head()
    await upstream.send(OK)
    assert (await answered(client)).body == b"ok"
    await plane.record()
    await plane.settled(idle=1)


# The answer's head


async def test_every_byte_of_an_answer_is_accounted_for(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n")
    await upstream.send(
        b"HTTP/1.1 200 Fine\r\nset-Cookie: a\r\n" + DATE + b"X-Empty:\r\nSet-Cookie: b\r\n"
        b"Content-Length: 2\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nConnection: x-hop, keep-alive"
        b"\r\nX-Request-Id: theirs\r\n\r\nok"
    )

    await client.until(b"ok")

    record = await plane.record()
    assert client.received == (
        b"HTTP/1.1 200 Fine\r\nset-Cookie: a\r\n" + DATE + b"X-Empty: \r\nSet-Cookie: b\r\n"
        b"Content-Length: 2\r\nX-Request-Id: %b\r\n\r\nok" % record.request_id.encode()
    )
    assert record.bytes_out == len(b"ok")
    assert judged(client)[0].is_whole


async def test_an_answer_without_a_date_gets_one(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK.replace(DATE, b""))

    assert (await answered(client)).values(b"date") == [b"Thu, 20 Nov 2025 12:00:00 GMT"]

    await plane.record()


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_stay_without(plane: DataPlane, status: int) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.1 %d None\r\nContent-Length: 5\r\nETag: x\r\n\r\n" % status)

    answer = await answered(client)

    assert (answer.status, answer.body) == (status, b"")
    assert answer.values(b"content-length") == ([] if status == 204 else [b"5"])
    await plane.record()
    await goes_on(plane, client, upstream)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 50000\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
async def test_head_tells_the_length_and_has_no_body(plane: DataPlane, framing: bytes) -> None:
    client, upstream, _ = await plane.asked(GET.replace(b"GET", b"HEAD"))
    await upstream.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")

    answer = await answered(client, b"HEAD")

    assert answer.body == b""
    assert answer.values(b"content-length") == ([b"50000"] if b"Length" in framing else [])
    assert (await plane.record()).status == 200
    if not framing:  # it might end with its connection
        await plane.settled(idle=0)
        return
    await goes_on(plane, client, upstream)


async def test_a_body_behind_head_is_dropped_with_its_connection(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET.replace(b"GET", b"HEAD"))
    await upstream.send(OK)

    assert (await answered(client, b"HEAD")).values(b"content-length") == [b"2"]

    await plane.record()
    assert await upstream.rest() == b""
    await plane.settled(idle=0)
    assert client.silent()


# Interim answers and Expect


async def test_interim_answers_are_passed_on(plane: DataPlane) -> None:
    """RFC 9110 15.2: all of them, an unasked 100 and a second one too."""
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\nConnection: x\r\n"
        b"X: for this hop\r\n\r\n"
        b"HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    )
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert await client.head() == b"HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n"
    assert await client.head() == b"HTTP/1.1 102 Processing\r\n\r\n"
    await upstream.send(b"HTTP/1.1 199 Strange\r\n\r\nHTTP/1.1 104 Resumed\r\n\r\n" + OK)

    await answered(client)

    statuses = [interim.status for interim in judged(client)[0].interim]
    assert statuses == [100, 103, 100, 102, 199, 104]
    await plane.record()
    await goes_on(plane, client, upstream)


async def test_a_flood_of_interim_answers_is_none(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_MAX + 1))

    assert (await answered(client)).status == 502

    assert len(judged(client)[0].interim) == INTERIM_MAX
    await plane.record()


@pytest.mark.parametrize("interim", [b"100 Continue", b"103 Early Hints"])
@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
async def test_an_old_client_gets_no_interim_answer(
    plane: DataPlane, interim: bytes, keep: bytes
) -> None:
    client, upstream, _ = await plane.asked(b"GET /open/a HTTP/1.0\r\n" + keep + b"\r\n")
    await upstream.send(b"HTTP/1.1 %b\r\nLink: </a>\r\n\r\n" % interim + OK)

    assert (await client.until(b"ok")).startswith(b"HTTP/1.1 200 OK\r\n")

    await plane.record()


async def test_what_the_upstream_sends_beyond_the_100_that_was_asked_for_passes(
    plane: DataPlane,
) -> None:
    client, upstream, _ = await plane.asked(
        POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    )
    await upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
    assert await client.head() == await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"body")
    assert await upstream.exactly(4) == b"body"
    await upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)

    await answered(client, b"POST")

    assert [interim.status for interim in judged(client, b"POST")[0].interim] == [100] * 3
    await plane.record()
    await goes_on(plane, client, upstream)


async def test_the_upstream_asks_for_the_body(plane: DataPlane) -> None:
    request = POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    client, upstream, head = await plane.asked(request)
    assert b"Expect: 100-continue\r\n" in head
    assert client.silent()
    await upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"body")
    assert await upstream.exactly(4) == b"body"
    await upstream.send(OK)

    assert (await answered(client, b"POST")).body == b"ok"

    assert (await plane.record()).bytes_in == 4
    await goes_on(plane, client, upstream)


async def test_the_upstream_refuses_the_body(plane: DataPlane) -> None:
    request = POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    client, upstream, _ = await plane.asked(request)
    await upstream.send(OK.replace(b"200 OK", b"417 No"))

    answer = await answered(client, b"POST")

    assert (answer.status, answer.values(b"connection")) == (417, [b"close"])
    assert (await plane.record()).bytes_in == 0
    assert await upstream.rest() == b""
    assert await client.rest() == b""
    await plane.settled(idle=0)


async def test_the_gateway_asks_for_a_body_that_it_has_to_read(plane: DataPlane) -> None:
    request = (POST + b"Content-Length: 7\r\nExpect: 100-continue\r\n\r\n").replace(
        b"/v1/a", b"/json"
    )
    client = await plane.client(request)
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b'{"n":4}')
    upstream = await plane.upstream.accept()
    head = await upstream.head()
    assert b"Expect" not in head
    assert await upstream.exactly(7) == b'{"n":4}'
    await upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await upstream.send(b"HTTP/1.1 100 Continue\r\nX: more\r\n\r\n" + OK)
    assert await client.head() == b"HTTP/1.1 100 Continue\r\nX: more\r\n\r\n"

    await answered(client, b"POST")

    # The client asked once and was answered by the gateway: the upstream's is the second.
    assert len(judged(client, b"POST")[0].interim) == 2
    assert (await plane.record()).quantities_micro == {"dc": 4_000_000}
    assert await plane.counted() == (1, 4)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((KEY.encode(), b"wrong"), 401),
        ((b"100-continue", b"200-ok"), 417),
        ((b"/v1/a", b"/nowhere"), 404),
        ((b"/v1/a", b"/named"), 405),
        ((b"/v1/a", b"/small"), 413),
    ],
)
async def test_a_refusal_asks_for_no_body(
    plane: DataPlane, change: tuple[bytes, bytes], status: int
) -> None:
    request = POST + b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n"
    client = await plane.client(request.replace(*change))

    answer = await answered(client, b"POST")

    assert (answer.status, answer.values(b"connection")) == (status, [b"close"])
    assert answer.interim == []
    record = await plane.record()
    assert (record.outcome, record.status, record.bytes_in) == ("refused", status, 0)
    assert plane.upstream.is_quiet()
    assert await plane.counted() == (0, 0)
    assert await client.rest() == b""
    client.close()
    await plane.deserted()


# Bodies of requests


@pytest.mark.parametrize("size", [1, 60_000, 100_000, 300_000])
@pytest.mark.parametrize("path", [b"/v1/a", b"/usage"])
async def test_a_body_that_comes_in_one_piece_leaves_its_connection_usable(
    plane: DataPlane, size: int, path: bytes
) -> None:
    body = b"x" * size
    client, upstream, head = await plane.asked(post(body).replace(b"/v1/a", path))
    assert b"Content-Length: %d\r\n" % size in head
    assert await upstream.exactly(size) == body
    await upstream.send(OK)
    await answered(client, b"POST")
    assert (await plane.record()).bytes_in == size

    await goes_on(plane, client, upstream)


@pytest.mark.parametrize("size", [60_000, 100_000, 240_000])
async def test_a_refused_body_that_has_come_leaves_its_connection_usable(
    plane: DataPlane, size: int
) -> None:
    client = await plane.client(post(b"x" * size).replace(KEY.encode(), b"wrong"))
    answer = await answered(client, b"POST")
    assert answer.status == 401
    await plane.record()
    if answer.values(b"connection") == [b"close"]:
        return  # it came in several pieces
    await client.send(GET)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(OK)
    assert (await answered(client)).status == 200
    await plane.record()


async def test_chunks_are_written_anew_and_extensions_dropped(plane: DataPlane) -> None:
    client, upstream, head = await plane.asked(
        CHUNKED + b"4;name=value\r\nWiki\r\n5\r\npedia\r\n0\r\nX-Sum: 1\r\n"
        b"X-Tenant-Id: evil\r\nX-API-Key: k\r\nForwarded: for=x\r\nHost: evil\r\n\r\n"
    )
    await upstream.until(b"0\r\nX-Sum: 1\r\n\r\n")
    await upstream.send(OK)

    await answered(client, b"POST")

    assert head.count(b"Transfer-Encoding: chunked\r\n") == 1
    assert b"Content-Length" not in head
    (request,) = requests_in(upstream.received)
    assert (request.body, request.trailers) == (b"Wikipedia", [(b"X-Sum", b"1")])
    assert (await plane.record()).bytes_in == 9
    await goes_on(plane, client, upstream)


async def test_trailers_are_no_fields_of_the_head(plane: DataPlane) -> None:
    request = (CHUNKED + b"2\r\nhi\r\n0\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()).replace(
        b"X-API-Key: %b\r\nTransfer" % KEY.encode(), b"Transfer"
    )
    client = await plane.client(request)

    assert (await answered(client, b"POST")).status == 401

    assert (await plane.record()).code == "key_missing"


async def test_trailers_and_nominated_fields_of_an_answer(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Hop: 2\r\nRateLimit: 3\r\n\r\n"
    )

    answer = await answered(client)

    assert (answer.body, answer.trailers) == (b"ok", [(b"X-Sum", b"1")])
    await plane.record()
    await goes_on(plane, client, upstream)


async def test_an_early_answer_lets_the_client_finish_and_ends_the_connection(
    plane: DataPlane,
) -> None:
    client = await plane.client((POST + b"Content-Length: 250000\r\n\r\n").replace(b"egw_", b"e_"))
    answer = await answered(client, b"POST")
    assert (answer.status, answer.values(b"connection")) == (401, [b"close"])
    await plane.record()

    await client.send(b"x" * 250_000 + GET)

    assert await client.rest() == b""
    assert plane.upstream.is_quiet()
    await plane.deserted()


async def test_nobody_waits_for_ever_for_a_body_that_is_not_wanted(plane: DataPlane) -> None:
    client = await plane.client((POST + b"Content-Length: 250000\r\n\r\n").replace(b"egw_", b"e_"))
    await answered(client, b"POST")
    await plane.record()
    assert len(plane.ports.connections) == 1

    await plane.advance(2.5)

    await plane.deserted()


async def test_a_body_beyond_all_bounds_is_not_taken(plane: DataPlane) -> None:
    client = await plane.client((POST + b"Content-Length: 99999999\r\n\r\n").replace(b"egw_", b"e"))
    await answered(client, b"POST")
    await plane.record()

    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await client.send(b"x" * (16 * MEGABYTE))

    await plane.deserted()


@pytest.mark.parametrize("kind", [b"Content-Length: 2000\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_larger_than_the_route_takes(plane: DataPlane, kind: bytes) -> None:
    head = b"POST /small HTTP/1.1\r\nHost: a\r\n" + kind + b"\r\n"
    client = await plane.client(head)
    if b"chunked" in kind:
        upstream = await plane.upstream.accept()
        await upstream.head()
        await client.send(b"3e8\r\n%b\r\n" % (b"x" * 1000))
        await upstream.until(b"x\r\n")
    await client.send(b"1\r\nx\r\n")

    answer = await answered(client, b"POST")

    assert (answer.status, answer.values(b"connection")) == (413, [b"close"])
    assert (await plane.record()).code == "body_too_large"
    await plane.settled(idle=0)


# Old clients and upstreams


@pytest.mark.parametrize("keep", [True, False])
async def test_an_old_client_gets_what_it_can_read(plane: DataPlane, keep: bool) -> None:
    fields = b"Connection: keep-alive\r\n" if keep else b""
    client, upstream, head = await plane.asked(b"GET /open/a HTTP/1.0\r\n" + fields + b"\r\n")
    assert head.startswith(b"GET /open/a HTTP/1.1\r\nHost: 127.0.0.1:")
    await upstream.send(OK)
    answer = await answered(client)
    assert answer.values(b"connection") == [b"keep-alive" if keep else b"close"]
    await plane.record()
    if not keep:
        assert await client.rest() == b""
        return

    await client.send(b"GET /open/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    await upstream.head()
    await upstream.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )

    assert (await client.rest()).endswith(b"Connection: close\r\n\r\nok")
    await plane.record()


async def test_an_old_upstream_ends_its_answer_by_closing(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.0 200 OK\r\n\r\nsome")
    await client.until(b"4\r\nsome\r\n")
    await upstream.send(b"thing")
    upstream.close()

    await client.until(b"0\r\n\r\n")

    (answer,) = judged(client)
    assert (answer.body, answer.values(b"transfer-encoding")) == (b"something", [b"chunked"])
    assert (await plane.record()).outcome == "completed"
    await plane.settled(idle=0)


async def test_an_old_upstream_that_keeps_its_connection(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
    await answered(client)
    await plane.record()

    await goes_on(plane, client, upstream)
