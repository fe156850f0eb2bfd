"""Heads are found in what has come, however it is cut, and no byte of what follows is taken."""

import asyncio
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.config.settings import load
from gateway.errors import Refusal, RefusalCode
from gateway.proxy.active import Active, activate
from gateway.proxy.incoming import IncomingHead
from gateway.proxy.pool import Upstreams
from gateway.telemetry.metrics import WorkerStats

ROOT = Path(__file__).parents[2]
Head = tuple[bytes, bytes, int, bool, list[tuple[bytes, bytes]]]


async def _active() -> Active:
    snapshot = load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={}).snapshot
    return activate(snapshot, Upstreams(WorkerStats()), 0)


ACTIVE = asyncio.run(_active())


def told(head: IncomingHead) -> Head:
    return head.method, head.target, head.http_minor, head.keep_alive, pairs_of(head)


def pairs_of(head: IncomingHead) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in head.fields]


def heads_in(data: bytes, cuts: set[int]) -> tuple[list[Head], bytes]:
    """Return the heads in a run of bodiless requests, and what was left; a refusal ends it."""
    reader, found, start = IncomingHead(), [], 0
    ends = [*sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    for begin, end in zip([0, *ends], ends, strict=False):
        part, at = data[begin:end], 0
        while at < len(part):
            at = reader.feed(part, at, ACTIVE)
            if at < 0:
                break
            found.append(told(reader))
            start = begin + at
    return found, data[start:]


REQUEST = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nDELETE /a?b=c%20d HTTP/1.1\r\nhost:a\r\nX:\t y z \t\r\nX: \r\n\r\n",
        b"HEAD * HTTP/1.0\r\n\r\n",
        b"OPTIONS http://a/ HTTP/1.0\r\nConnection: Keep-Alive\r\nX: \xff\r\n\r\n",
        b"QUERY /q HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET /a/b?c=d HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nX: y z\r\n\r\n",
        b"GET /~a HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\nX: 1\r\nX: 2\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX_Y: dropped\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\nConnection: x\r\n\r\n",
    ]
)
CUTS = st.sets(st.integers(1, 300), max_size=20)


@given(data=st.data())
def test_however_heads_are_cut_the_same_are_found(data: st.DataObject) -> None:
    sent = b"".join(data.draw(st.lists(REQUEST, max_size=4)))
    rest = data.draw(
        st.sampled_from([b"", b"GE", b"GET / HTTP/1.1\r\nHo", b"PUT / HTTP/1.1\r\n\r"])
    )
    whole, left = heads_in(sent + rest, set())

    assert len(whole) == sent.count(b" HTTP/1.")
    assert left == rest
    assert heads_in(sent + rest, data.draw(CUTS)) == (whole, left)


PIECES = st.lists(
    st.sampled_from([
        b"X: y\r\n", b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b"GET", b"/", b"HTTP/1.1",
        b"RTSP/1.0",
        b"X", b"y", b"\0", b"\x7f", b"\xe9", b"Connection: close", b" folded", b"[", b"(",
    ]),
    max_size=8,
).map(b"".join)  # fmt: skip
"""What several fields together may mean is for ``head`` to say."""


@given(PIECES)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n")
def test_whatever_is_taken_for_a_head_is_one_to_h11_too(data: bytes) -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"
    reader = IncomingHead()
    try:
        stop = reader.feed(data, 0, ACTIVE)
    except Refusal:
        return
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(data[:stop])
    event = judge.next_event()

    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (reader.method, reader.target)
    assert event.headers.raw_items() == pairs_of(reader)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"A" * 9000, RefusalCode.BAD_REQUEST),
        (b"GET /" + b"a" * 9000, RefusalCode.TARGET_TOO_LONG),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000, RefusalCode.HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", RefusalCode.HEAD_TOO_LARGE),
        (b"\r\n\r\n\r\n", RefusalCode.BAD_REQUEST),
        (b"\x16\x03\x01", RefusalCode.BAD_REQUEST),
        (b"g", RefusalCode.BAD_REQUEST),
        (b"GET / HTTP/3.0\r\n", RefusalCode.VERSION_UNSUPPORTED),
        (b"GET / HTTP/1.\xb9\r\n", RefusalCode.BAD_REQUEST),
        (b"GET /\r\n", RefusalCode.BAD_REQUEST),
    ],
)
def test_what_can_not_become_a_head_is_refused_at_once(data: bytes, code: RefusalCode) -> None:
    for step in (len(data), 1000, 1):
        reader = IncomingHead()
        found: Refusal | None = None
        for at in range(0, len(data), step):
            try:
                assert reader.feed(data[at : at + step], 0, ACTIVE) == -1
            except Refusal as refusal:
                found = refusal
                break
        assert found is not None
        assert found.code is code


USUAL = b"Host: a\r\nAccept: */*\r\nX-Trace: 4bf9 2f\r\n"


@pytest.mark.parametrize(
    ("head", "is_plain"),
    [
        (b"GET /a?b=c HTTP/1.1\r\n" + USUAL, True),
        (b"POST /a HTTP/1.1\r\n" + USUAL + b"Content-Length: 12\r\n", True),
        (b"GET /a HTTP/1.1\r\n" + USUAL + b"Connection: keep-alive\r\n", True),
        (b"GET /a HTTP/1.1\r\n", True),
        (b"GET /a HTTP/1.0\r\n" + USUAL, False),
        (b"OPTIONS /a HTTP/1.1\r\n" + USUAL, False),
        (b"GET http://a/a HTTP/1.1\r\n" + USUAL, False),
        (b"GET /a HTTP/1.1\r\n" + USUAL + b"Connection: close\r\n", False),
        (b"GET /a HTTP/1.1\r\n" + USUAL + b"Proxy-Connection: close\r\n", False),
        (b"GET /a HTTP/1.1\r\n" + USUAL + b"Upgrade: websocket\r\n", False),
        (b"POST /a HTTP/1.1\r\n" + USUAL + b"Transfer-Encoding: chunked\r\n", False),
        (b"GET /a HTTP/1.1\r\n" + USUAL + b"X_Y: z\r\n", False),
        (b"GET /a HTTP/1.1\r\n" + USUAL + b"X: \xe9\r\n", False),
        (b"GET /a HTTP/1.1\r\n" + USUAL + b"X:y\r\n", False),
    ],
)
def test_llhttp_is_asked_unless_nothing_is_unusual(head: bytes, is_plain: bool) -> None:
    reader = IncomingHead()

    assert reader.feed(head + b"\r\n", 0, ACTIVE) == len(head) + 2
    assert reader.was_plain is is_plain


@pytest.mark.parametrize(
    ("fields", "keeps"),
    [
        (b"Connection: keep-alive\r\n", True),
        (b"Connection: x\r\nConnection: y , Keep-Alive\r\n", True),
        (b"", False),
        (b"Connection: keep-alive, close\r\n", False),
        (b"Connection: close\r\nConnection: keep-alive\r\n", False),
        (b"Proxy-Connection: keep-alive\r\n", False),
    ],
)
def test_a_connection_of_http_1_0_is_kept_if_it_is_asked_for_only(
    fields: bytes, *, keeps: bool
) -> None:
    """RFC 9112 9.3: ``close`` wins."""
    reader = IncomingHead()
    head = b"GET /a HTTP/1.0\r\n" + fields + b"\r\n"

    for _ in range(2):  # what reads the second head does not depend on the first one
        assert reader.feed(head, 0, ACTIVE) == len(head)
        assert reader.keep_alive is keeps


@pytest.mark.parametrize("lengths", [[b"1", b"1"], [b"1", b"2"], [b"01"], [b"+1"], [b"9" * 30]])
def test_no_doubtful_length_is_plain(lengths: list[bytes]) -> None:
    fields = b"".join(b"Content-Length: %b\r\n" % length for length in lengths)
    reader = IncomingHead()
    with suppress(Refusal):
        reader.feed(b"PUT / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", 0, ACTIVE)

    assert not reader.was_plain


def test_a_target_of_the_longest_kind_is_taken() -> None:
    longest = b"/" + b"a" * (ACTIVE.snapshot.limits.target_bytes_max - 1)
    reader = IncomingHead()

    assert reader.feed(b"OPTIONS %b HTTP/1.1\r\nHost: a\r\n\r\n" % longest, 0, ACTIVE) > 0
    assert reader.target == longest


def test_the_line_of_a_key_is_judged_once_for_a_connection_and_for_no_other() -> None:
    keys = [b"k1", b"k1", b"k2", b"k1", b"longer", b"longer"]
    other, reader = IncomingHead(), IncomingHead()
    seen = []
    for key in keys:
        head = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nX: %b\r\n\r\n" % (
            key,
            key,
        )
        assert reader.feed(head, 0, ACTIVE) == other.feed(head, 0, ACTIVE) == len(head)
        assert reader.special[b"authorization"] == [b"Bearer " + key]
        assert pairs_of(reader)[1:] == [(b"Authorization", b"Bearer " + key), (b"X", key)]
        assert reader.fields[1] is not other.fields[1]
        seen.append(reader.fields[1])

    again = [now is before for before, now in pairwise(seen)]
    assert again == [True, False, False, False, True]


SECRET_LINES = [
    b"X-API-Key: a", b"X-API-Key: b", b"x-api-key: a", b"Authorization: Bearer a",
    b"Authorization: Basic x", b"Authorization: Bearer " + b" " * 2000 + b"a", b"Accept: */*",
    b"Odd:\tline",
]  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(SECRET_LINES), max_size=3), max_size=6))
@settings(max_examples=500)
@example([[b"X-API-Key: a", b"Authorization: Basic x"]] * 3)
@example([[b"Authorization: Basic x", b"X-API-Key: a"]] * 3)
@example([[b"X-API-Key: a"], [b"X-API-Key: b", b"X-API-Key: a"]])
def test_what_came_before_on_a_connection_changes_no_head(heads: list[list[bytes]]) -> None:
    """B2: several fields may hold a key, in the same head too."""
    reader = IncomingHead()
    for lines in heads:
        head = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % b"".join(b"%b\r\n" % x for x in lines)
        fresh = IncomingHead()

        assert reader.feed(head, 0, ACTIVE) == fresh.feed(head, 0, ACTIVE) == len(head)

        assert pairs_of(reader) == pairs_of(fresh)
        assert reader.special == fresh.special
        assert [field.line for field in reader.fields] == [field.line for field in fresh.fields]


@pytest.mark.parametrize(("length", "is_kept"), [(1024, True), (1025, False)])
def test_a_long_line_is_not_kept(length: int, is_kept: bool) -> None:
    """10,000 connections times the longest head would be a lot of memory."""
    line = (b"Authorization: Bearer " + b"k" * length)[:length]
    reader, seen = IncomingHead(), []
    for _ in range(2):
        reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line, 0, ACTIVE)
        seen.append(reader.fields[1])

    assert seen[0].line == seen[1].line == line + b"\r\n"
    assert (seen[0] is seen[1]) is is_kept


def test_what_only_begins_says_so() -> None:
    reader = IncomingHead()

    assert reader.feed(b"\r\n", 0, ACTIVE) == -1
    assert not reader.has_begun
    assert reader.feed(b"G", 0, ACTIVE) == -1
    assert reader.has_begun
    assert reader.feed(b"ET / HTTP/1.1\r\nHost: a\r\n\r\nrest", 0, ACTIVE) == 26
    assert not reader.has_begun
