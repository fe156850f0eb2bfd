"""The story of a request, end to end in one process: bytes in, bytes out, books."""

import json

import pytest

from tests.support.data_plane import DATE, KEY, DataPlane, answered

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
UPGRADE = (
    b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\n\r\nhalf"


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


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ((b"/v1/a", b"/nowhere"), 404, "route_unknown"),
        ((b"GET", b"PATCH"), 405, "method_not_allowed"),
        ((KEY.encode(), b"nonsense"), 401, "key_invalid"),
        ((b"/v1/a", b"/replay"), 403, "feature_unavailable"),
    ],
)
async def test_each_step_can_refuse_and_the_connection_goes_on(
    plane: DataPlane, change: tuple[bytes, bytes], status: int, code: str
) -> None:
    client = await plane.client(GET.replace(*change))
    answer = await answered(client)
    assert (answer.status, answer.values(b"connection")) == (status, [])
    record = await plane.record()
    assert (record.outcome, record.status, record.code) == ("refused", status, code)
    assert await plane.counted() == (0, 0)

    await client.send(GET)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(OK)

    assert (await answered(client)).status == 200
    await plane.record()


async def test_each_refusal_of_a_kind_tells_its_own_request(plane: DataPlane) -> None:
    """B6: the problem is written once for all who get it; its instance is the request's."""
    unknown = GET.replace(KEY.encode(), KEY[::-1].encode())
    client = await plane.client()
    for path, code in ((b"/v1/a", "key_invalid"), (b"/nowhere", "route_unknown")):
        for name in (b"one", b"two", b"three"):
            asked = unknown.replace(b"/v1/a", path)
            await client.send(
                asked.replace(b"\r\n\r\n", b"\r\nX-Request-Id: " + name + b"\r\n\r\n")
            )

            answer = await answered(client)

            problem = json.loads(answer.body)
            assert (problem["code"], problem["instance"]) == (code, name.decode())
            assert answer.values(b"x-request-id") == [name]
            assert (await plane.record()).code == code


async def test_a_refusal_to_head_has_no_body(plane: DataPlane) -> None:
    client = await plane.client(GET.replace(b"GET", b"HEAD").replace(KEY.encode(), b"x") + GET)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(OK)

    head = await client.head()

    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nContent-Length: " in head
    assert (await client.head()).startswith(b"HTTP/1.1 200 ")
    await client.until(b"ok")
    await plane.records(2)


@pytest.mark.parametrize("early", [b"", b"\x81\x85more", GET])
@pytest.mark.parametrize("refuser", ["upstream", "gateway"])
async def test_an_upgrade_that_is_refused_ends_the_connection(
    plane: DataPlane, early: bytes, refuser: str
) -> None:
    if refuser == "upstream":
        client, upstream, _ = await plane.asked(UPGRADE + early)
        await upstream.send(OK.replace(b"200 OK", b"403 No"))
    else:
        client = await plane.client(UPGRADE.replace(KEY.encode(), b"nonsense") + early)

    answer = await answered(client)

    assert answer.status == (403 if refuser == "upstream" else 401)
    assert answer.values(b"connection") == [b"close"]
    await client.rest()
    assert client.ended == "fin"
    client.close()
    await plane.record()
    await plane.deserted()
    assert plane.upstream.is_quiet()


@pytest.mark.parametrize("old", [True, False])
async def test_a_cut_answer_does_not_look_whole(plane: DataPlane, old: bool) -> None:
    version = b"1.0" if old else b"1.1"
    client, upstream, _ = await plane.asked(b"GET /open/a HTTP/%b\r\nHost: a\r\n\r\n" % version)
    await upstream.send(BEGUN)
    await client.until(b"half")
    upstream.reset()

    received = await client.rest()

    assert client.ended == ("reset" if old else "fin")
    assert not received.endswith(b"0\r\n\r\n")
    assert (await plane.record()).outcome == "upstream_failed"


async def test_the_time_of_the_plan_runs_while_a_connection_is_waited_for(
    plane: DataPlane,
) -> None:
    clients = [await plane.client(GET) for _ in range(5)]
    for _ in range(4):
        await (await plane.upstream.accept()).head()
    await plane.until(lambda: len(plane.pool._waiting) == 1)
    await plane.advance(30.1)

    for client in clients:
        assert (await answered(client)).status == 504

    records = await plane.records(5)
    assert {record.code for record in records} == {"execution_timeout"}
    assert await plane.counted() == (5, 0)
    assert plane.upstream.is_quiet() or plane.idle_count == 0
