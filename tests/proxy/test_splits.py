"""TCP knows no messages: however bytes are cut, the same comes of them; heads pass unchanged."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from gateway.config.snapshot import Snapshot
from gateway.http.fields import HOP_BY_HOP
from tests.support.data_plane import DATE, KEY, DataPlane, SteppedLoop, answered, data_plane, judged
from tests.support.http_judge import Message, requests_in
from tests.support.wire import Wire

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
OPEN = b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
VARIES = {b"x-request-id", b"ratelimit", b"date"}

REQUESTS = {
    "get": OPEN,
    "empty lines": b"\r\n\r\n" + OPEN,
    "length": b"POST /open/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome body",
    "chunks": b"POST /open/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;x=y\r\nsome\r\n5\r\n body\r\n0\r\nX-Sum: 1\r\nX-API-Key: k\r\n\r\n",
    "json": b"POST /json HTTP/1.1\r\n" + AUTH + b"Content-Length: 21\r\n\r\n"
    b'{"n":2,"run":"r-1"}  ',
    "old": b"GET /open/a?x HTTP/1.0\r\nConnection: keep-alive\r\nX: y\r\n\r\n",
    "absolute": b"GET http://b/open/a HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX: y\r\n\r\n",
}  # fmt: skip
REFUSED = {
    400: b"GET /open/a HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    401: b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: egw_live_x\r\n\r\n",
    404: b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    405: b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    417: b"GET /open/a HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
}
ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: y\r\n\r\nsome body",
    "empty": b"HTTP/1.1 404 Not Here\r\nContent-Length: 0\r\n\r\n",
    "chunks": b"HTTP/1.1 201 \r\nTransfer-Encoding: chunked\r\n\r\n4;x\r\nsome\r\n5\r\n body\r\n"
    b"0\r\nX-Sum: 1\r\nRateLimit: 2\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome body",
    "old": b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nsome body",
    "interim": b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 \r\n\r\n" + OK,
    "nothing": b"HTTP/1.1 204 None\r\nContent-Length: 3\r\n\r\n",
}

Run = Callable[[Callable[[DataPlane], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture
def run(
    tmp_path: Path, plane_folder: Path, plane_snapshot: Snapshot, upstream_port: int
) -> Iterator[Run]:
    """Run one scenario after the other on one data plane: examples are many."""
    (tmp_path / "keys.yaml").symlink_to(plane_folder / "keys.yaml")
    context = data_plane(tmp_path, plane_snapshot, upstream_port)
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        plane = runner.run(context.__aenter__())
        try:
            yield lambda scenario: runner.run(scenario(plane))
        finally:
            runner.run(context.__aexit__(None, None, None))


@dataclass
class Told:
    """What came of a request, without what differs every time."""

    at_upstream: list[Message]
    at_client: list[Message]
    record: tuple[object, ...]


def cleaned(messages: list[Message]) -> list[Message]:
    for message in messages:
        message.fields = [pair for pair in message.fields if pair[0].lower() not in VARIES]
        if message.status_or_zero >= 400:
            message.body = b""
    return messages


async def send_in_pieces(plane: DataPlane, wire: Wire, data: bytes, cuts: set[int]) -> None:
    """Send, letting the other side read each piece by itself."""
    ends = [*sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        await wire.send(data[start:end])
        await plane.turns(3)


async def whole_request(wire: Wire) -> None:
    """Read until a whole request is there."""
    while not (requests := requests_in(wire.received)) or not requests[-1].is_whole:
        await wire._receive()
        assert not wire.ended


async def told(
    plane: DataPlane, request: bytes, answer: bytes, request_cuts: set[int], answer_cuts: set[int]
) -> Told:
    """Play a request and its answer, cut into pieces."""
    plane.ports.upstreams.close()
    plane.ports.swap(plane.ports.active.snapshot)
    client = await plane.client()
    accepting = asyncio.ensure_future(plane.upstream.accept())
    await send_in_pieces(plane, client, request, request_cuts)
    upstream = await accepting
    await whole_request(upstream)
    await send_in_pieces(plane, upstream, answer, answer_cuts)
    if b"Content-Length" not in answer and b"chunked" not in answer:
        upstream.close()
    await answered(client)
    record = await plane.record()
    result = Told(
        cleaned(requests_in(upstream.received)),
        cleaned(judged(client)),
        (record.status, record.outcome, record.quantities_micro, record.run_id, record.bytes_in),
    )
    client.close()
    upstream.close()
    await plane.deserted()
    return result


CUTS = st.sets(st.integers(1, 300), max_size=12)
EVERY = set(range(1, 400))


@pytest.mark.parametrize("name", REQUESTS)
def test_however_a_request_is_cut_the_same_comes_of_it(run: Run, name: str) -> None:
    request = REQUESTS[name]

    def play(cuts: set[int]) -> Told:
        result = run(lambda plane: told(plane, request, OK, cuts, set()))
        assert isinstance(result, Told)
        return result

    whole = play(set())
    assert whole.record[:2] == (200, "completed")

    @settings(max_examples=15, deadline=None)
    @example(EVERY)
    @given(CUTS)
    def check(cuts: set[int]) -> None:
        assert play(cuts) == whole

    check()


@pytest.mark.parametrize("name", ANSWERS)
def test_however_an_answer_is_cut_the_same_comes_of_it(run: Run, name: str) -> None:
    answer = ANSWERS[name]

    def play(cuts: set[int]) -> Told:
        result = run(lambda plane: told(plane, OPEN, answer, set(), cuts))
        assert isinstance(result, Told)
        for message in result.at_client:  # a body in one piece needs no chunks
            message.fields = [pair for pair in message.fields if pair[0] != b"Transfer-Encoding"]
        return result

    whole = play(set())
    assert whole.record[1] == "completed"

    @settings(max_examples=15, deadline=None)
    @example(EVERY)
    @given(CUTS)
    def check(cuts: set[int]) -> None:
        assert play(cuts) == whole

    check()


@pytest.mark.parametrize("status", REFUSED)
def test_however_a_bad_request_is_cut_it_is_refused(run: Run, status: int) -> None:
    async def play(plane: DataPlane, cuts: set[int]) -> None:
        client = await plane.client()
        await send_in_pieces(plane, client, REFUSED[status], cuts)
        assert (await answered(client)).status == status
        assert plane.upstream.is_quiet()
        client.close()
        await plane.deserted()

    @settings(max_examples=10, deadline=None)
    @example(EVERY)
    @given(CUTS)
    def check(cuts: set[int]) -> None:
        run(lambda plane: play(plane, cuts))

    check()


# Heads

TOKEN = st.text("abcxyzABCXYZ0189!#$%&'*+-.^`|~", min_size=1, max_size=20).map(str.encode)
READ_BY_THE_GATEWAY = {b"host", b"content-length", b"date", b"via"} | HOP_BY_HOP
NAME = TOKEN.filter(lambda name: name.lower() not in READ_BY_THE_GATEWAY)
VISIBLE = [*range(0x21, 0x7F), *range(0x80, 0x100)]
VALUE = st.lists(
    st.lists(st.sampled_from(VISIBLE), min_size=1, max_size=12).map(bytes), max_size=4
).flatmap(lambda words: st.sampled_from([b" ", b"\t", b"  "]).map(lambda gap: gap.join(words)))
FIELDS = st.lists(st.tuples(NAME, VALUE), max_size=20)
SEGMENT = st.text("abcXYZ019-._~!$&'()*+,=:@", min_size=1, max_size=12).filter(
    lambda text: text not in {".", ".."}
)
TARGET = st.tuples(
    st.lists(SEGMENT, min_size=1, max_size=5).map(lambda parts: "/open/" + "/".join(parts)),
    st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) != "#"], max_size=30),
).map(lambda parts: (parts[0] + ("?" + parts[1] if parts[1] else "")).encode())


def lines(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def test_every_valid_head_passes_with_its_fields_unchanged_in_order(run: Run) -> None:
    async def play(
        plane: DataPlane, start: tuple[bytes, bytes], fields: list[tuple[bytes, bytes]],
        status: int, reason: bytes, answer_fields: list[tuple[bytes, bytes]],
    ) -> None:  # fmt: skip
        client = await plane.client(
            b"%b %b HTTP/1.1\r\nHost: a\r\n" % start + lines(fields) + b"\r\n"
        )
        upstream = plane.upstream.wires[-1] if plane.upstream.wires else None
        upstream = upstream or await plane.upstream.accept()
        head = await upstream.head()
        prefix = b"%b %b HTTP/1.1\r\nHost: a\r\n" % start
        assert head.startswith(prefix + lines(fields) + b"Via: 1.1 gateway\r\n")
        begin = b"HTTP/1.1 %d %b\r\n" % (status, reason)
        await upstream.send(begin + lines(answer_fields) + DATE + b"Content-Length: 0\r\n\r\n")
        received = await client.head()
        assert received.startswith(begin + lines(answer_fields) + DATE)
        client.close()
        await plane.record()
        await plane.deserted()

    @settings(max_examples=150, deadline=None, phases=[Phase.generate], report_multiple_bugs=False)
    @given(
        start=st.tuples(st.sampled_from([b"GET", b"PUT", b"DELETE", b"OPTIONS"]), TARGET),
        fields=FIELDS,
        status=st.integers(200, 599).filter(lambda status: status not in {204, 304}),
        reason=VALUE.filter(bool),
        answer_fields=FIELDS,
    )
    def check(
        start: tuple[bytes, bytes],
        fields: list[tuple[bytes, bytes]],
        status: int,
        reason: bytes,
        answer_fields: list[tuple[bytes, bytes]],
    ) -> None:
        run(lambda plane: play(plane, start, fields, status, reason, answer_fields))

    check()
