"""What a client does wrong is refused before anything else is looked at; pipelines keep order."""

from pathlib import Path

import pytest

from tests.support.data_plane import (
    DATE,
    HEAD_BYTES,
    KEY,
    DataPlane,
    answer_half_closed,
    answered,
    judged,
)
from tests.support.http_judge import requests_in
from tests.support.wire import Wire

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
POST = b"POST /v1/a HTTP/1.1\r\n" + AUTH
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"


async def ends(plane: DataPlane, client: Wire) -> None:
    """Check that the gateway closed its side and nothing came behind the answer."""
    assert await client.rest() == b""
    assert client.ended == "fin"
    client.close()
    await plane.deserted()
    assert plane.upstream.is_quiet()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/a HTTP/1.1\nHost: a\n\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX\x00Y: b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX b: c\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
        b"GET  /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/1.1 \r\nHost: a\r\n\r\n",
        b" GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\t/v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a\rb HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a\0b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\nGET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\rGET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\r\nGET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a RTSP/1.0\r\nHost: a\r\n\r\n",
        b"DESCRIBE /v1/a RTSP/1.0\r\nHost: a\r\n\r\n",
        b"SOURCE /v1/a ICE/1.0\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/01.01\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/ 1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/1,1\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/1\r\nHost: a\r\n\r\n",
        b"GET /v1/a http/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/3\r\nHost: a\r\n\r\n",
        b"G@T /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"get /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\nx" % (b"9" * 1000),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0",
    ],
)
async def test_what_is_not_http_gets_400_and_the_end(plane: DataPlane, head: bytes) -> None:
    client = await plane.client(head)

    answer = await answered(client)

    assert (answer.status, answer.values(b"connection")) == (400, [b"close"])
    assert b'"code":"bad_request"' in answer.body
    await ends(plane, client)
    assert plane.ports.stats.worker.parse_errors == 1
    await plane.records(0)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/a HTTP/1.1\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: u@a\r\n\r\n",
        b"GET /v1/a#x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/v1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u:p@a/v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/../open HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/%2e%2e/open HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1//a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /v1/a HTTP/1.0\r\nHost: \r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a,b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a:b\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: a/v1\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 01\r\n\r\nx",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n",
        b"GET /v1/a\r\n\r\n",
        b"POST /v1/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: 'chunked'\r\n\r\n0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: \r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_could_mean_two_things_gets_400_and_the_end(
    plane: DataPlane, head: bytes
) -> None:
    client = await plane.client(head)

    answer = await answered(client)

    assert (answer.status, answer.values(b"connection")) == (400, [b"close"])
    await ends(plane, client)
    assert plane.ports.stats.worker.parse_errors <= 1
    for record in plane.journal.reader.read_unshipped(9).records:
        assert (record.outcome, record.code) == ("refused", "bad_request")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        (b"TRACE /v1/a HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"PATCH /v1/a HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /" + b"a" * 1100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /v1/a HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 40 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"BREW /v1/a HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET /v1/a HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET /v1/a HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET /v1/a HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX: " + b"y" * HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET /v1/a HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
        (b"GET /v1/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + KEY.encode() + b"x\r\n"
         b"X-API-Key: " + KEY.encode() + b"\r\n\r\n", 400),
        (b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: " + KEY.encode() + b"\r\n"
         b"X-API-Key: " + KEY.encode() + b"x\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_what_is_refused_has_its_own_status(
    plane: DataPlane, head: bytes, status: int
) -> None:
    client = await plane.client(head)

    answer = await answered(client)

    assert answer.status == status
    assert (answer.values(b"allow") != []) is (status == 405)
    assert plane.upstream.is_quiet()
    assert await plane.counted() == (0, 0)


@pytest.mark.parametrize("field", [b"X: ", b"X", b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX: "])
async def test_a_head_without_end_is_refused(plane: DataPlane, field: bytes) -> None:
    begun = b"" if field.startswith(b"GET") else b"GET /v1/a HTTP/1.1\r\nHost: a\r\n"
    client = await plane.client(begun + field)
    await plane.turns(20)
    for _ in range(8):
        await client.send(b"a" * 1024)
        await plane.turns(20)

    answer = await answered(client)

    assert (answer.status, answer.values(b"connection")) == (431, [b"close"])
    await ends(plane, client)


async def test_empty_lines_before_a_request_are_skipped(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(b"\r\n\r\n" + GET)
    await upstream.send(OK)

    assert (await answered(client)).status == 200

    await plane.record()


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nhi\r\n",
        b"2\r\nhiX\r\n",
        b"2\nhi\n0\n\n",
        b"2;a\nb\r\nhi\r\n0\r\n\r\n",
        b"-2\r\nhi\r\n",
        b"0x2\r\nhi\r\n",
        b"2 \r\nhi\r\n",
        b"fffffffffffffffff\r\nhi\r\n",
        b"2\r\nhi\r\n0\r\nX : y\r\n\r\n",
        b"2\r\nhi\r\n0\r\nX: y\n\r\n",
        b"2;\r\nhi\r\n0\r\n\r\n",
        b"2;a=\r\nhi\r\n0\r\n\r\n",
        b"2;;a\r\nhi\r\n0\r\n\r\n",
        b"2\r\nhi\n0\r\n\r\n",
        b"+0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("in_pieces", [True, False])
async def test_a_broken_body_is_refused_and_never_completed(
    plane: DataPlane, body: bytes, in_pieces: bool
) -> None:
    client = await plane.client(CHUNKED if in_pieces else CHUNKED + body)
    if in_pieces:
        upstream = await plane.upstream.accept()
        await upstream.head()
        await client.send(body)

    answer = await answered(client, b"POST")

    assert (answer.status, answer.values(b"connection")) == (400, [b"close"])
    record = await plane.record()
    assert (record.outcome, record.code, record.billable) == ("refused", "bad_request", False)
    assert (await plane.counted())[1] == 0
    if in_pieces:
        assert not (await upstream.rest()).endswith(b"0\r\n\r\n")
    assert await client.rest() == b""
    client.close()
    await plane.deserted()
    await plane.settled(idle=0)


@pytest.mark.parametrize("start", [b"0\r\nX: ", b"1;", b"1;x=", b"0\r\nX: y\r\nZ"])
async def test_what_comes_between_chunks_has_a_bound(plane: DataPlane, start: bytes) -> None:
    client, upstream, _ = await plane.asked(CHUNKED + start)
    for _ in range(HEAD_BYTES // 512 + 2):
        await client.send(b"a" * 512)
        await plane.turns(10)

    answer = await answered(client, b"POST")

    assert answer.status in {400, 431}
    assert not (await plane.record()).billable
    await upstream.rest()


async def test_many_small_chunks_are_no_attack(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(CHUNKED)
    for _ in range(3000):
        await client.send(b"1\r\nx\r\n")
    await client.send(b"0\r\n\r\n")
    await upstream.until(b"0\r\n\r\n")
    await upstream.send(OK)

    assert (await answered(client, b"POST")).status == 200

    assert requests_in(upstream.received)[0].body == b"x" * 3000
    await plane.record()


# One after the other


def numbered(number: int, path: bytes = b"/v1") -> bytes:
    return b"GET %b/%d HTTP/1.1\r\n%b\r\n" % (path, number, AUTH)


async def test_pipelined_requests_are_answered_in_order(plane: DataPlane) -> None:
    client, upstream, head = await plane.asked(b"".join(map(numbered, range(12))))
    for number in range(12):
        assert head.startswith(b"GET /v1/%d " % number)
        assert plane.upstream.is_quiet()
        await upstream.send(OK.replace(b"ok", b"%02d" % number))
        if number < 11:
            head = await upstream.head()
    await client.until(b"\r\n\r\n11")

    answers = judged(client, *[b"GET"] * 12)

    assert [int(answer.body) for answer in answers] == list(range(12))
    assert [record.status for record in await plane.records(12)] == [200] * 12
    await plane.settled(idle=1)


async def test_pipelining_holds_back_who_sends_too_much(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(numbered(0))
    for number in range(1, 10):
        await client.send(numbered(number))
        await plane.turns(20)
    (connection,) = plane.ports.connections
    assert len(connection._queue) == 4  # type: ignore[attr-defined]
    for number in range(10):
        if number:
            await upstream.head()
        await upstream.send(OK)

    await plane.records(10)
    await plane.until(lambda: not plane.ports.exchanges)


@pytest.mark.parametrize("tail", [b"", b"GET /v1/x HTTP/1.1\r\nHo", b"nonsense\r\n\r\n"])
@pytest.mark.parametrize("half_closes", [False, True])
async def test_a_pipeline_that_comes_at_once_is_read_piece_by_piece(
    plane: DataPlane, tmp_path: Path, tail: bytes, half_closes: bool
) -> None:
    if half_closes:
        answer_half_closed(plane, tmp_path)
    number = 60
    client, upstream, _ = await plane.asked(b"".join(map(numbered, range(number))) + tail)
    if half_closes:
        client.half_close()
    waiting = []
    for each in range(number):
        for connection in plane.ports.connections:
            waiting.append(len(connection._queue))  # type: ignore[attr-defined]
        if each:
            assert b"/v1/%d " % each in await upstream.head()
        await upstream.send(OK)
    await plane.records(number)
    assert max(waiting) <= 4
    if half_closes or tail:
        client.close()
    await plane.until(lambda: not plane.ports.exchanges)


async def test_an_error_comes_after_the_answers_before_it(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(numbered(0) + b"nonsense\r\n\r\n" + numbered(1))
    assert client.silent()
    await upstream.send(OK)

    await client.until(b"}")

    answers = judged(client, b"GET", b"GET", b"GET")
    assert [answer.status for answer in answers] == [200, 400]
    assert answers[1].values(b"connection") == [b"close"]
    await plane.record()
    await ends(plane, client)


async def test_nothing_is_done_behind_a_request_that_closes(plane: DataPlane) -> None:
    last = numbered(0).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    client, upstream, _ = await plane.asked(last + numbered(1))
    await upstream.send(OK)

    answer = await answered(client)

    assert answer.values(b"connection") == [b"close"]
    await plane.record()
    await ends(plane, client)


async def test_nothing_is_done_behind_an_ambiguous_request(plane: DataPlane) -> None:
    client = await plane.client(
        b"POST /v1/a HTTP/1.1\r\n" + AUTH + b"Content-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + numbered(1)
    )

    assert (await answered(client)).status == 400

    await ends(plane, client)
    await plane.records(0)


async def test_a_broken_body_in_the_queue_waits_for_its_turn(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(numbered(0) + CHUNKED + b"zz\r\n")
    await plane.turns(20)
    assert client.silent()
    await upstream.send(OK)

    await client.until(b"}")

    assert [answer.status for answer in judged(client, b"GET", b"POST")] == [200, 400]
    await plane.records(2)
    await ends(plane, client)


async def test_who_leaves_with_requests_in_the_queue_is_charged_for_none_of_them(
    plane: DataPlane,
) -> None:
    client, upstream, _ = await plane.asked(numbered(0) + numbered(1) + numbered(2))
    client.reset()

    record = await plane.record()

    assert record.outcome == "client_gone"
    assert await plane.counted() == (1, 0)
    await upstream.rest()
    await plane.deserted()
