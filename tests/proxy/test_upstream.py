"""What the upstream does wrong: the caller is told in the standard way, or cut, and pays nothing.

Each case looks at the bytes on both sides, the one record, the counters, and what is left open.
"""

import h11
import pytest

from tests.support.data_plane import KEY, DataPlane, answered, judged
from tests.support.http_judge import answers_in
from tests.support.wire import Wire

GET = b"GET /v1/a HTTP/1.1\r\nHost: api.example\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
POST = (
    b"POST /v1/a HTTP/1.1\r\nHost: api.example\r\nX-API-Key: %b\r\nContent-Length: 4\r\n\r\nbody"
    % KEY.encode()
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
BIG = 300_000


async def refused(plane: DataPlane, client: Wire, status: int, code: str) -> None:
    """Check a refusal for the upstream's sake: told, recorded, given back, connection kept."""
    answer = await answered(client)
    assert answer.status == status
    assert answer.values(b"content-type") == [b"application/problem+json"]
    assert answer.values(b"connection") == []
    record = await plane.record()
    assert (record.outcome, record.status, record.code) == ("upstream_failed", status, code)
    assert not record.billable
    assert record.charged_micro == {"dc": 0}
    assert await plane.counted() == (1, 0)


async def works_again(plane: DataPlane, client: Wire) -> None:
    """Check that the next request on the same connection is served."""
    await client.send(GET)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(OK)
    assert (await answered(client)).body == b"ok"
    await plane.record()


async def test_nobody_listens(plane: DataPlane) -> None:
    plane.upstream.close()
    client = await plane.client(GET)

    await refused(plane, client, 502, "upstream_unreachable")

    assert plane.ports.stats.worker.upstream_connect_errors == 1


@pytest.mark.parametrize("end", [Wire.reset, Wire.close])
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_it_ends_before_its_head_is_whole(
    plane: DataPlane, end: object, before: bytes
) -> None:
    client, upstream, _ = await plane.asked(GET)
    if before:
        await upstream.send(before)
        await plane.turns()
    assert callable(end)
    end(upstream)

    await refused(plane, client, 502, "upstream_failed")
    await works_again(plane, client)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 600 High\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 999 High\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX y: z\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n: z\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 O\x7fK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_what_is_no_answer_is_a_bad_gateway(plane: DataPlane, answer: bytes) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(answer)

    await refused(plane, client, 502, "upstream_failed")

    assert await upstream.rest() == b""
    await works_again(plane, client)
    await plane.settled(idle=1)


@pytest.mark.parametrize("field", [b"X: ", b"X: a\r\nY: "])
async def test_a_head_without_end_is_given_up(plane: DataPlane, field: bytes) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.1 200 OK\r\n" + field)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await upstream.send(b"a" * (8 << 20))

    await refused(plane, client, 502, "upstream_failed")


@pytest.mark.parametrize("endless", [b"0\r\nX: ", b"0\r\nX: y\r\nY", b"2;x="])
async def test_what_has_no_end_behind_the_head_is_given_up(
    plane: DataPlane, endless: bytes
) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    await client.until(b"ok\r\n")
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await upstream.send(endless + b"a" * (8 << 20))

    assert b"0\r\n" not in await client.rest()
    record = await plane.record()
    assert (record.outcome, record.billable) == ("upstream_failed", False)


async def test_interim_answers_without_end_are_given_up(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)

    for _ in range(16):
        assert (await client.head()).startswith(b"HTTP/1.1 102 ")
    await refused(plane, client, 502, "upstream_failed")


@pytest.mark.parametrize(
    ("head", "piece", "end"),
    [
        (LONG, b"half", Wire.close),
        (LONG, b"half", Wire.reset),
        (LONG, b"", Wire.close),
        (CHUNKED, b"4\r\nhalf\r\n", Wire.close),
        (CHUNKED, b"4\r\nhalf\r\n", Wire.reset),
        (CHUNKED, b"4\r\nhalf\r\n0\r\n", Wire.close),
        (CHUNKED, b"4\r\nha", Wire.close),
    ],
)
async def test_an_answer_that_breaks_off_is_cut_and_costs_nothing(
    plane: DataPlane, head: bytes, piece: bytes, end: object
) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(head)
    await client.head()
    if piece:
        await upstream.send(piece)
        await plane.turns(20)
    assert callable(end)
    end(upstream)

    await client.rest()

    with pytest.raises(h11.RemoteProtocolError):
        judged(client)
    record = await plane.record()
    assert (record.outcome, record.status) == ("upstream_failed", 502)
    assert not record.billable
    assert await plane.counted() == (1, 0)
    await plane.deserted()


async def test_a_reset_of_an_answer_that_ends_with_its_connection_is_no_end(
    plane: DataPlane,
) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(UNTIL_CLOSE + b"half")
    await client.until(b"half\r\n")
    upstream.reset()

    await client.rest()

    with pytest.raises(h11.RemoteProtocolError):
        judged(client)
    assert (await plane.record()).outcome == "upstream_failed"


@pytest.mark.parametrize("chunk", [b"zz\r\nok\r\n", b"2\r\nokk\r\n", b"2\nok\n", b"-2\r\nok\r\n"])
async def test_a_broken_chunk_cuts_the_answer(plane: DataPlane, chunk: bytes) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(CHUNKED + b"2\r\nok\r\n")
    await client.until(b"2\r\nok\r\n")
    await upstream.send(chunk)

    await client.rest()

    with pytest.raises(h11.RemoteProtocolError):
        judged(client)
    assert (await plane.record()).outcome == "upstream_failed"
    assert await upstream.rest() == b""


@pytest.mark.parametrize("status", [200, 201, 404, 500])
@pytest.mark.parametrize("head", [LONG, CHUNKED, UNTIL_CLOSE])
async def test_status_decides_what_a_whole_answer_costs(
    plane: DataPlane, head: bytes, status: int
) -> None:
    client, upstream, _ = await plane.asked(GET)
    body = {LONG: b"0123456789", CHUNKED: b"a\r\n0123456789\r\n0\r\n\r\n"}.get(head, b"0123456789")
    await upstream.send(head.replace(b"200 OK", b"%d Any" % status) + body)
    if head == UNTIL_CLOSE:
        upstream.close()

    answer = await answered(client)

    assert (answer.status, answer.body) == (status, b"0123456789")
    record = await plane.record()
    assert (record.outcome, record.status) == ("completed", status)
    assert record.billable is (status < 300)
    assert await plane.counted() == (1, int(status < 300))
    await plane.settled(idle=0 if head == UNTIL_CLOSE else 1)


@pytest.mark.parametrize(
    "more", [OK.replace(b"ok", b"no"), b"stray", b"\r\n", b"HTTP/1.1 100 \r\n\r\n"]
)
async def test_bytes_behind_an_answer_never_reach_anybody(plane: DataPlane, more: bytes) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK + more)

    assert (await answered(client)).body == b"ok"

    await plane.record()
    if more != b"\r\n":
        assert await upstream.rest() == b""
        await plane.settled(idle=0)
        await works_again(plane, client)
    assert len(judged(client, b"GET", b"GET")) == (1 if more == b"\r\n" else 2)


async def test_fields_of_a_second_answer_are_no_trailers_of_the_first(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
    first = await answered(client)
    await client.send(GET)
    await upstream.head()
    await upstream.send(
        CHUNKED
        + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
        + OK.replace(b"Content", b"X-Other: 1\r\nContent")
    )
    second = await answered(client)

    assert first.trailers == second.trailers == [(b"X-Sum", b"1")]
    await plane.records(2)
    await plane.settled(idle=0)


async def test_an_early_answer_is_told_though_the_upload_could_not_be_sent(
    plane: DataPlane,
) -> None:
    """RFC 9112 9.5: the service said no, closed, and left the rest of the upload unread."""
    client, upstream, _ = await plane.asked(POST.replace(b"Length: 4", b"Length: 3000000"))
    (exchange,) = plane.ports.exchanges
    await upstream.send(
        b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"
    )
    upstream.close()
    for _ in range(3):  # in one turn of the loop: the writing fails before anything is read
        exchange.body_data(b"x" * 100_000)

    answer = await answered(client, b"POST")

    assert (answer.status, answer.body) == (413, b"big")
    record = await plane.record()
    assert (record.status, record.outcome) == (413, "completed")


@pytest.mark.parametrize("upgrade", [b"", b"Upgrade: h2c\r\n"])
async def test_another_protocol_than_was_asked_for_is_a_bad_gateway(
    plane: DataPlane, upgrade: bytes
) -> None:
    """RFC 9110 15.2.2: a 101 names the protocol, which must be one that the client offered."""
    client, upstream, _ = await plane.asked(
        GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
    )
    await upstream.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n" + upgrade + b"\r\n")

    assert (await answered(client)).status == 502
    record = await plane.record()
    assert (record.outcome, record.billable) == ("upstream_failed", False)
    await plane.settled(idle=0)


async def test_bytes_that_nobody_asked_for_end_a_kept_connection(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await answered(client)
    await plane.record()
    await upstream.send(OK.replace(b"ok", b"no"))

    assert await upstream.rest() == b""

    await works_again(plane, client)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG, b"x" * BIG),
        (CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (BIG, b"x" * BIG)),
    ],
)
@pytest.mark.parametrize("size", [60_000, 100_000, 250_000, BIG])
async def test_an_answer_that_comes_in_one_piece_leaves_its_connection_usable(
    plane: DataPlane, head: bytes, body: bytes, size: int
) -> None:
    head = head.replace(b"%d" % BIG, b"%d" % size)
    body = body.replace(b"%x" % BIG, b"%x" % size).replace(b"x" * BIG, b"x" * size)
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(head + body)
    assert (await answered(client)).body == b"x" * size
    await plane.record()
    await plane.settled(idle=1)

    await client.send(GET)
    await upstream.head()
    await upstream.send(OK)

    assert (await answered(client)).body == b"ok"
    await plane.record()


async def test_answer_before_the_request_was_read_closes_both_sides(plane: DataPlane) -> None:
    request = POST.replace(b"Content-Length: 4\r\n\r\nbody", b"Content-Length: 9\r\n\r\nbody")
    client, upstream, _ = await plane.asked(request)
    await upstream.exactly(4)
    await upstream.send(OK)

    answer = await answered(client)
    await client.send(b" more" + GET)

    assert (answer.body, answer.values(b"connection")) == (b"ok", [b"close"])
    await client.rest()
    assert answers_in(client.received, [b"POST"], ended=True)[0].is_whole
    assert (await plane.record()).billable
    await upstream.rest()
    await plane.settled(idle=0)
    await plane.deserted()


async def test_connect_deadline(plane: DataPlane) -> None:
    plane.upstream.listen(0)
    fillers = [await Wire.connect(plane.ports.active.snapshot.upstreams[0].endpoints[0].port)]
    client = await plane.client(GET)

    await refused(plane, client, 502, "upstream_unreachable")

    for wire in fillers:
        wire.close()


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nX: "])
async def test_deadline_of_the_head(plane: DataPlane, before: bytes) -> None:
    client, upstream, _ = await plane.asked(GET)
    if before:
        await upstream.send(before)
    await plane.turns(20)
    await plane.advance(15)
    assert client.silent()
    await plane.advance(15.5)

    answer = await answered(client)

    assert answer.status == 504
    record = await plane.record()
    assert (record.outcome, record.code, record.billable) == ("upstream_failed", record.code, False)
    assert record.code in {"upstream_timeout", "execution_timeout"}
    assert await plane.counted() == (1, 0)
    assert await upstream.rest() == b""


async def test_deadline_of_the_plan(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(CHUNKED + b"2\r\nok\r\n")
    await client.until(b"2\r\nok\r\n")
    await plane.advance(20)
    await upstream.send(b"2\r\nok\r\n")
    await client.until(b"2\r\nok\r\n")
    await plane.advance(10.5)

    await client.rest()

    with pytest.raises(h11.RemoteProtocolError):
        judged(client)
    assert (await plane.record()).code == "execution_timeout"
    assert await plane.counted() == (1, 0)


async def test_deadline_between_two_pieces(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in range(3):
        await upstream.send((b"" if _ else CHUNKED) + b"2\r\nok\r\n")
        await client.until(b"2\r\nok\r\n")
        await plane.advance(50)
    assert client.silent()
    await plane.advance(11)

    await client.rest()

    with pytest.raises(h11.RemoteProtocolError):
        judged(client)
    assert (await plane.record()).code == "upstream_timeout"


@pytest.mark.parametrize(
    ("answer", "idle"),
    [
        (b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 1),
        (b"Connection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok", 0),
        (
            b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            0,
        ),
    ],
)
async def test_a_doubtful_connection_of_http_1_0_is_not_used_again(
    plane: DataPlane, answer: bytes, idle: int
) -> None:
    """RFC 9112 6.1, 9.3: ``close`` wins; chunks are no framing of HTTP/1.0."""
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.0 200 OK\r\n" + answer)

    assert (await answered(client)).body == b"ok"
    await plane.record()
    await plane.settled(idle=idle)
