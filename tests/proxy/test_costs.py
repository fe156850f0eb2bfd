"""What a request costs: told by header or body, before or after, and never by accident."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.config.snapshot import CostReading, CostSource, RunIdReading, RunIdSource
from gateway.errors import Refusal, RefusalCode
from gateway.http.field_lines import Field
from gateway.http.json_bodies import JsonBody
from gateway.http.run_ids import RUN_ID_BYTES_MAX
from gateway.proxy.answer import Answer
from gateway.proxy.costs import _reserve, read_run_id, run_id_of_answer
from gateway.proxy.exchange import ClientSide, Exchange
from gateway.rules.units import MICRO
from tests.support.data_plane import DATE, KEY, DataPlane, answered, snapshot_in

AUTH = b"Host: a\r\nX-API-Key: %b\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
IN_HEADER = RunIdReading(RunIdSource.HEADER, header=b"idempotency-key")


def post(path: bytes, body: bytes) -> bytes:
    head = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n"
    return head % (path, AUTH, len(body)) + body


def answer_of(*fields: tuple[bytes, bytes]) -> Answer:
    return Answer(200, b"OK", [Field(name, name.lower(), value) for name, value in fields])


def exchange_with(**fields: bytes) -> Exchange:
    exchange = Exchange(ClientSide(asyncio.get_running_loop()))
    exchange.special = {
        name.replace("_", "-").encode(): value.split(b"|") for name, value in fields.items()
    }
    return exchange


async def charged(plane: DataPlane, request: bytes, answer: bytes = OK) -> tuple[int, int]:
    """Return the quantity in the record and in the counter, in micro-units and units."""
    client, upstream, _ = await plane.asked(request)
    await upstream.send(answer)
    assert (await answered(client, b"POST")).status == 200
    record = await plane.record()
    assert record.charged_micro == record.quantities_micro
    return record.quantities_micro["dc"], (await plane.counted())[1]


@pytest.mark.parametrize(
    ("body", "micro"),
    [
        (b'{"n":7}', 7 * MICRO),
        (b'{"n":0}', 0),
        (b'{"n":0.25}', MICRO // 4),
        (b'{"n":null}', 3 * MICRO),
        (b"{}", 3 * MICRO),
        (b"[]", 3 * MICRO),
        (b"", 3 * MICRO),
    ],
)
async def test_a_body_tells_what_to_reserve(plane: DataPlane, body: bytes, micro: int) -> None:
    assert (await charged(plane, post(b"/json", body)))[0] == micro


@pytest.mark.parametrize(
    "body",
    [
        b'{"n":-1}', b'{"n":"7"}', b'{"n":true}', b'{"n":[]}', b'{"n":1e300}',
        b'{"n":99999999999999999999}', b'{"n":NaN}', b'{"n":', b"n=7", b"\xff",
    ],
)  # fmt: skip
async def test_a_cost_that_can_not_be_read_is_refused(plane: DataPlane, body: bytes) -> None:
    client = await plane.client(post(b"/json", body))

    answer = await answered(client, b"POST")

    assert (answer.status, json.loads(answer.body)["code"]) == (400, "cost_invalid")
    assert (await plane.record()).code == "cost_invalid"
    assert await plane.counted() == (0, 0)
    assert plane.upstream.is_quiet()


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_is_read_has_a_bound(plane: DataPlane, chunked: bool) -> None:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 70000"
    client = await plane.client(b"POST /json HTTP/1.1\r\n" + AUTH + framing + b"\r\n\r\n")
    if chunked:
        await client.send(b"11170\r\n" + b" " * 70_000)

    answer = await answered(client, b"POST")

    assert answer.status == 413
    await plane.record()
    assert plane.upstream.is_quiet()


async def test_a_body_that_was_read_is_sent_on_unchanged(plane: DataPlane) -> None:
    body = b' {"n" : 2}\n' + b" " * 60_000
    client, upstream, _ = await plane.asked(post(b"/json", body))
    assert await upstream.exactly(len(body)) == body
    await upstream.send(OK)
    await answered(client, b"POST")
    assert (await plane.record()).bytes_in == len(body)


async def test_a_body_that_never_comes_costs_nothing(plane: DataPlane) -> None:
    client = await plane.client(post(b"/json", b'{"n":7}')[:-3])
    await plane.until(lambda: plane.ports.exchanges)
    client.reset()

    assert (await plane.record()).outcome == "client_gone"

    assert await plane.counted() == (0, 0)


async def test_a_body_that_is_read_and_stalls_is_a_timeout(plane: DataPlane) -> None:
    client = await plane.client(post(b"/json", b'{"n":7}')[:-3])
    await plane.until(lambda: plane.ports.exchanges)
    await plane.advance(10.5)

    assert (await answered(client, b"POST")).status == 408

    assert (await plane.record()).code == "request_timeout"


@pytest.mark.parametrize(
    ("field", "units"),
    [
        (b"X-DC-Used: 9\r\n", 9), (b"x-dc-used:  1.5\r\n", 1.5), (b"X-DC-Used: 0\r\n", 0),
        (b"", 4), (b"X-DC-Used: -1\r\n", 4), (b"X-DC-Used: many\r\n", 4), (b"X-DC-Used:\r\n", 4),
        (b"X-DC-Used: 1\r\nX-DC-Used: 2\r\n", 4), (b"X-DC-Used: \xb2\r\n", 4),
    ],
)  # fmt: skip
async def test_an_answers_header_settles_if_it_can_be_read(
    plane: DataPlane, field: bytes, units: float
) -> None:
    answer = OK.replace(b"Content-Length", field + b"Content-Length")

    micro, counted = await charged(plane, post(b"/json", b'{"n":4}'), answer)

    assert micro == units * MICRO
    assert counted == int(units)


@pytest.mark.parametrize(
    ("body", "units"),
    [(b'{"used":2}', 2), (b'{"used":50}', 50), (b"{}", 5), (b"no json", 5), (b'{"used":"x"}', 5)],
)
@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answers_body_settles_if_it_can_be_read(
    plane: DataPlane, body: bytes, units: int, chunked: bool
) -> None:
    client, upstream, _ = await plane.asked(post(b"/usage", b"x"))
    if chunked:
        await upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in body:
            await upstream.send(b"1\r\n%c\r\n" % byte)
            await plane.turns(2)
        await upstream.send(b"0\r\n\r\n")
    else:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
        await upstream.send(head % len(body) + body)

    assert (await answered(client, b"POST")).body == body

    assert (await plane.record()).quantities_micro == {"dc": units * MICRO}
    assert (await plane.counted())[1] == units


async def test_an_answer_whose_body_settles_is_asked_for_as_it_is(plane: DataPlane) -> None:
    """Otherwise ``gzip``, which callers send by default, or a mere part would keep the estimate."""
    fields = b"accept-encoding: gzip, br\r\nAccept_Encoding: zstd\r\nRange: bytes=0-0\r\n"
    asking = post(b"/usage", b"x").replace(b"Content-Length", fields + b"Content-Length")

    counters = plane.ports.active.plans["usage"].route.counters
    unsettled_before = counters.unsettled
    client, upstream, head = await plane.asked(asking)
    assert await upstream.exactly(1) == b"x"
    await upstream.send(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"used":9}')
    await answered(client, b"POST")

    lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"accept")]
    assert lines == [b"accept-encoding: identity"]
    assert b"range" not in head.lower()
    assert (await plane.record()).quantities_micro == {"dc": 9 * MICRO}
    assert counters.unsettled == unsettled_before


async def test_who_can_not_be_settled_is_counted(plane: DataPlane) -> None:
    counters = plane.ports.active.plans["usage"].route.counters
    unsettled_before = counters.unsettled
    upstream = None
    for head in (b"200 OK\r\nContent-Encoding: gzip", b"404 Not Found"):
        client, upstream, _ = await plane.asked(post(b"/usage", b"x"), upstream)
        assert await upstream.exactly(1) == b"x"
        await upstream.send(b"HTTP/1.1 " + head + b"\r\nContent-Length: 2\r\n\r\n\x1f\x8b")
        await answered(client, b"POST")
        await plane.record()

    assert counters.unsettled == unsettled_before + 1  # what is not billed needs no settlement


async def test_an_answer_too_long_to_be_read_keeps_the_estimate(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post(b"/usage", b"x"))
    body = b'{"used":1}' + b" " * 1_100_000
    await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await client.until(b'{"used":1}')
    await client.exactly(1_100_000)

    assert (await plane.record()).quantities_micro == {"dc": 5 * MICRO}


async def test_an_answer_that_breaks_off_settles_nothing(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post(b"/usage", b"x"))
    await upstream.send(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"used":1}')
    await client.until(b'{"used":1}')
    upstream.close()
    await client.rest()

    assert (await plane.record()).charged_micro == {"dc": 0}

    assert (await plane.counted())[1] == 0


def test_a_header_of_the_request_tells_what_to_reserve() -> None:
    reading = CostReading(CostSource.HEADER, 2 * MICRO, header=b"x-cost")

    assert _reserve(reading, {b"x-cost": [b"3"]}, None) == 3 * MICRO
    assert _reserve(reading, {}, None) == 2 * MICRO
    for wrong in ([b"1", b"2"], [b"-1"], [b"x"], [b""]):
        with pytest.raises(Refusal) as refused:
            _reserve(reading, {b"x-cost": wrong}, None)
        assert refused.value.code is RefusalCode.COST_INVALID
        assert "x-cost" in refused.value.facts["detail"]


def test_what_must_be_told_is_refused_where_it_is_missing() -> None:
    reading = CostReading(CostSource.JSON, None, pointer=("a", "b"))

    with pytest.raises(Refusal) as refused:
        _reserve(reading, {}, JsonBody(b'{"a": {}}'))

    assert refused.value.facts["detail"] == "Missing /a/b."


@pytest.mark.parametrize(
    ("value", "run_id"),
    [
        (b"plain", "plain"), (b' "quoted" ', "quoted"), (b'"a \\" b"', 'a " b'),
        (b'"', '"'), (b"x" * RUN_ID_BYTES_MAX, "x" * RUN_ID_BYTES_MAX),
    ],
)  # fmt: skip
async def test_a_run_id_is_the_same_quoted_or_bare(value: bytes, run_id: str) -> None:
    assert await read_run_id(IN_HEADER, exchange_with(idempotency_key=value), 100) == run_id


@pytest.mark.parametrize(
    "value", [b"", b'""', b"x" * (RUN_ID_BYTES_MAX + 1), b"\xff", b"a\tb", b"a|b"]
)
async def test_a_run_id_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(Refusal):
        await read_run_id(IN_HEADER, exchange_with(idempotency_key=value), 100)


async def test_a_route_may_require_a_run_id() -> None:
    required = RunIdReading(RunIdSource.HEADER, header=b"idempotency-key", required=True)

    assert await read_run_id(IN_HEADER, exchange_with(), 100) is None
    with pytest.raises(Refusal):
        await read_run_id(required, exchange_with(), 100)


async def test_a_run_id_may_stand_in_the_body(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post(b"/json", b'{"run":"r-1","n":1}'))
    await upstream.send(OK)
    await answered(client, b"POST")

    assert (await plane.record()).run_id == "r-1"


async def test_a_run_that_a_number_names_is_charged_once(plane: DataPlane) -> None:
    """It is the same run as the one of its digits."""
    for body in (b'{"run":12345,"n":3}', b'{"run":12345,"n":3}', b'{"run":"12345","n":3}'):
        client, upstream, _ = await plane.asked(post(b"/json", body))
        await upstream.send(OK)
        await answered(client, b"POST")
        upstream.close()

    records = await plane.records(3)
    assert [record.run_id for record in records] == ["12345"] * 3
    assert [record.repeat for record in records] == [False, True, True]
    assert await plane.counted() == (3, 3)


@pytest.mark.parametrize(
    "run", [b"true", b"1.5", b'["r"]', b'{"id": "r"}', b"123456789012345678901"]
)
async def test_what_names_no_run_in_the_body_is_refused(plane: DataPlane, run: bytes) -> None:
    client = await plane.client(post(b"/json", b'{"run":%b,"n":1}' % run))

    assert (await answered(client, b"POST")).status == 400
    assert (await plane.record()).code == "bad_request"
    assert await plane.counted() == (0, 0)


async def test_a_run_of_null_is_no_run(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post(b"/json", b'{"run":null,"n":1}'))
    await upstream.send(OK)
    await answered(client, b"POST")

    assert (await plane.record()).run_id is None


def test_an_answer_may_name_the_run() -> None:
    reading = RunIdReading(RunIdSource.RESPONSE_HEADER, header=b"x-run")

    assert run_id_of_answer(reading, answer_of((b"X-Run", b"r-1"))) == "r-1"
    assert run_id_of_answer(reading, answer_of((b"X-Run", b"\xff"))) is None
    assert run_id_of_answer(reading, answer_of((b"X-Run", b"x" * 300))) is None
    assert run_id_of_answer(IN_HEADER, answer_of((b"Idempotency-Key", b"r"))) is None


@pytest.mark.parametrize("is_plain", [True, False])
async def test_a_request_that_waited_is_read_as_the_configuration_in_force_reads_it(
    plane: DataPlane, tmp_path: Path, is_plain: bool
) -> None:
    """A head that came in pieces, or behind another one, while the route file was replaced."""
    first, upstream, _ = await plane.asked(b"GET /v1/a HTTP/1.1\r\n%b\r\n" % AUTH)
    head = b"GET /v1/a HTTP/1.1\r\n%bX-Cost: 50\r\n" % AUTH
    if is_plain:
        client = first
        await client.send(head + b"\r\n")
    else:
        client = await plane.client(head)
    await plane.turns(20)
    folder = tmp_path / "other"
    folder.mkdir()
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    was = 'path: "/v1/**"}, upstream: app}'
    now = 'path: "/v1/**"}, upstream: app, cost: {dc: {reserve: {header: X-Cost, default: 1}}}}'
    plane.ports.swap(snapshot_in(folder, port, lambda text: text.replace(was, now)))
    await upstream.send(OK)
    await answered(first)
    if not is_plain:
        await client.send(b"\r\n")
    await upstream.head()
    await upstream.send(OK)
    await answered(client)

    records = await plane.records(2)

    assert [record.quantities_micro for record in records] == [{"dc": MICRO}, {"dc": 50 * MICRO}]
