"""What a body or field says that readers may take differently, or finer than counters are."""

import json
from pathlib import Path

import pytest

from gateway.rules.units import MICRO
from tests.support.data_plane import DATE, KEY, DataPlane, answered, snapshot_in
from tests.support.http_judge import Message

AUTH = b"Host: a\r\nX-API-Key: %b\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
FINE = [
    (b"0.30000000000000004", 300_001), (b"12.3456789", 12_345_679), (b"1e-7", 1),
    (b"1E+2", 100 * MICRO), (b"1e-999999999", 1), (b"-0", 0), (b"0.1" + b"0" * 400 + b"1", 100_001),
]  # fmt: skip
"""Numbers and the micro-units that are charged for them."""


def post(path: bytes, body: bytes, fields: bytes = b"") -> bytes:
    head = b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n"
    return head % (path, AUTH, fields, len(body)) + body


async def charged(plane: DataPlane, request: bytes, answer: bytes = OK) -> int:
    """Return what a request that passes is recorded with."""
    client, upstream, _ = await plane.asked(request)
    await upstream.send(answer)
    assert (await answered(client, b"POST")).status == 200
    upstream.close()
    record = await plane.record()
    assert record.charged_micro == record.quantities_micro
    return record.quantities_micro["dc"]


async def refused(plane: DataPlane, request: bytes) -> tuple[Message, str]:
    """Return the answer to a request that goes no further, and its problem's code."""
    answer = await answered(await plane.client(request), b"POST")
    code = json.loads(answer.body)["code"]
    assert (await plane.record()).code == code
    assert plane.upstream.is_quiet()
    assert await plane.counted() == (0, 0)
    return answer, code


@pytest.mark.parametrize(("number", "micro"), FINE)
async def test_parts_of_a_micro_unit_are_charged_as_one_wherever_they_stand(
    plane: DataPlane, tmp_path: Path, number: bytes, micro: int
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    was = 'path: "/v1/**"}, upstream: app}'
    now = 'path: "/v1/**"}, upstream: app, cost: {dc: {reserve: {header: X-Cost, default: 1}}}}'
    plane.ports.swap(snapshot_in(folder, port, lambda text: text.replace(was, now)))
    told = OK.replace(b"Content-Length", b"X-DC-Used: %b\r\nContent-Length" % number)
    body = b'{"used":%b}' % number
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    assert await charged(plane, post(b"/v1/a", b"x", b"X-Cost: %b\r\n" % number)) == micro
    assert await charged(plane, post(b"/json", b'{"n":%b}' % number)) == micro
    assert await charged(plane, post(b"/json", b'{"n":4}'), told) == micro
    assert await charged(plane, post(b"/usage", b"x"), answer) == micro


@pytest.mark.parametrize(
    "body",
    [
        b'{"n":100,"n":1}', b'{"n":1,"n":1}', b'{"\\u006e":100,"n":1}', b'{"n":1,"\\u006E":null}',
        b'{"n":1e400}', b'{"n":1,"x":1e400}', b'{"n":1e999999999}', b'{"n":1,"x":"\\ud800"}',
        b'\xef\xbb\xbf{"n":1}', '{"n":1}'.encode("utf-16"), b'{"n":1}{"n":2}', b'{"n":1/**/}',
    ],
)  # fmt: skip
async def test_a_body_with_two_readings_decides_no_cost(plane: DataPlane, body: bytes) -> None:
    answer, code = await refused(plane, post(b"/json", body))

    assert (answer.status, code) == (400, "cost_invalid")


async def test_a_body_with_two_run_ids_names_no_run(plane: DataPlane) -> None:
    for body in (b'{"n":1,"run":"a","run":"b"}', b'{"n":1,"run":"a","r\\u0075n":"a"}'):
        answer, code = await refused(plane, post(b"/json", body))

        assert (answer.status, code) == (400, "bad_request")
        assert b"more than once" in answer.body


async def test_names_that_decide_nothing_may_repeat_themselves(plane: DataPlane) -> None:
    body = b'{"x":1,"x":{"n":3,"n":4,"run":"c","run":"d"},"n":7,"N":8,"run":"a"}'
    client, upstream, _ = await plane.asked(post(b"/json", body))
    assert await upstream.exactly(len(body)) == body
    await upstream.send(OK)
    await answered(client, b"POST")

    record = await plane.record()
    assert (record.quantities_micro, record.run_id) == ({"dc": 7 * MICRO}, "a")


@pytest.mark.parametrize(
    "body",
    [b'{"used":1,"used":100}', b'{"\\u0075sed":1,"used":2}', b'{"used":-1}', b'{"used":1e10}'],
)
async def test_an_answer_with_two_readings_settles_nothing(plane: DataPlane, body: bytes) -> None:
    counters = plane.ports.active.plans["usage"].route.counters
    unsettled_before = counters.unsettled
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    assert await charged(plane, post(b"/usage", b"x"), answer) == 5 * MICRO
    assert counters.unsettled == unsettled_before + 1


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd", b"identity, gzip", b"x-y"])
async def test_a_coded_body_that_tells_a_cost_is_refused_by_its_coding(
    plane: DataPlane, coding: bytes
) -> None:
    fields = b"Content-Encoding: %b\r\nExpect: 100-continue\r\n" % coding
    request = post(b"/json", b"\x1f\x8b\x08\x00", fields)

    answer, code = await refused(plane, request[:-4])

    assert (answer.status, code) == (415, "content_coding_unsupported")
    assert answer.values(b"accept-encoding") == [b"identity"]
    assert answer.interim == []
    assert coding.rpartition(b" ")[2] in answer.body


async def test_a_coded_body_passes_where_nothing_is_read_from_it(plane: DataPlane) -> None:
    body = b"\x1f\x8b\x08\x00"
    request = post(b"/v1/a", body, b"Content-Encoding: gzip\r\n")
    client, upstream, head = await plane.asked(request)
    assert b"Content-Encoding: gzip\r\n" in head
    assert await upstream.exactly(4) == body
    await upstream.send(OK)
    assert (await answered(client, b"POST")).status == 200
    upstream.close()
    await plane.record()

    assert await charged(plane, post(b"/json", b'{"n":2}', b"Content-Encoding: identity\r\n")) == (
        2 * MICRO
    )


async def test_a_charset_other_than_utf_8_is_refused_by_name(plane: DataPlane) -> None:
    fields = b"Content-Type: application/json; charset=utf-16\r\n"

    answer, code = await refused(plane, post(b"/json", b'{"n":1}', fields))

    assert (answer.status, code) == (400, "cost_invalid")
    assert b"the charset utf-16 is declared, but JSON is UTF-8" in answer.body


async def test_json_that_is_a_form_of_another_cost_is_refused(plane: DataPlane) -> None:
    fields = b"Content-Type: application/x-www-form-urlencoded\r\n"

    answer, code = await refused(plane, post(b"/json", b'{"n":1,"x":"&n=100&"}', fields))

    assert (answer.status, code) == (400, "cost_invalid")
    assert b"declared as a form" in answer.body
    assert await charged(plane, post(b"/json", b'{"n":2}', fields)) == 2 * MICRO
