"""Rows of docs/semantics.md about clients that leave, on a running gateway.

They are tried over plain TCP and over TLS, and with each way to leave that there is. The others are
in tests/proxy/test_leaving.py.
"""

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.both_ends import (
    ABANDONED,
    CLOSE,
    COMPLETED,
    FINISHED,
    FREE,
    LENGTH_4,
    MISSING,
    OK,
    SECONDS,
    STREAM,
    UNBILLED,
    WAYS,
    Billed,
    Place,
    books,
    leave,
    place,
    rest,
    until,
)
from tests.support.gateway_process import wait_until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@dataclass(frozen=True)
class Leaving:
    """One row: how far it comes, then the client leaves, then the upstream goes on.

    Attributes:
        start: The request line.
        fields: Further lines.
        body: What the client sends of its body.
        answer: What the upstream sends, all of which the client has, before the client leaves.
        after: What the upstream sends then; empty where it must have been cancelled.
        books: Status, outcome, billable and reason of the record.
    """

    name: str
    start: str
    books: Billed
    fields: str = ""
    body: bytes = b""
    answer: bytes = b""
    after: bytes = b""


LEAVING = [
    Leaving("in the body", "POST /a HTTP/1.1", FREE, LENGTH_4, b"bod"),
    Leaving(
        "in the chunked body", "POST /a HTTP/1.1", FREE, "Transfer-Encoding: chunked\r\n",
        b"4\r\nbody\r\n",
    ),
    Leaving(
        "a 100 is awaited", "POST /a HTTP/1.1", FREE, f"{LENGTH_4}Expect: 100-continue\r\n"
    ),
    Leaving("GET, no answer", "GET /a HTTP/1.1", FREE),
    Leaving("HEAD, no answer", "HEAD /a HTTP/1.1", FREE),
    Leaving("OPTIONS, no answer", "OPTIONS /a HTTP/1.1", FREE),
    Leaving("HTTP/1.0, no answer", "GET /a HTTP/1.0", FREE),
    Leaving(
        "GET, 103", "GET /a HTTP/1.1", FREE,
        answer=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    ),
    Leaving("POST, finish", "POST /a HTTP/1.1", FINISHED, LENGTH_4, b"body", after=OK),
    Leaving("POST, HTTP/1.0", "POST /a HTTP/1.0", FINISHED, LENGTH_4, b"body", after=OK),
    Leaving("DELETE, finish", "DELETE /a HTTP/1.1", FINISHED, after=OK),
    Leaving("POST, 404", "POST /a HTTP/1.1", UNBILLED, LENGTH_4, b"body", after=MISSING),
    Leaving(
        "POST, settled", "POST /settled HTTP/1.1", FINISHED, LENGTH_4, b"body",
        after=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n" + CLOSE + b'{"used":7}',
    ),
    Leaving("POST, cancel", "POST /cancelled HTTP/1.1", ABANDONED, LENGTH_4, b"body"),
    Leaving(
        "GET, in the answer", "GET /a HTTP/1.1", FINISHED,
        answer=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" + CLOSE + b"half",
    ),
    Leaving(
        "POST, in the stream", "POST /a HTTP/1.1", FINISHED, LENGTH_4, b"body",
        STREAM + b"4\r\nhalf\r\n",
    ),
    Leaving(
        "the last event", "POST /a HTTP/1.1", COMPLETED, LENGTH_4, b"body",
        STREAM + b"e\r\ndata: [DONE]\n\n\r\n",
    ),
    Leaving(
        "an early answer", "POST /a HTTP/1.1", FINISHED, LENGTH_4, b"bo",
        STREAM + b"4\r\nhalf\r\n",
    ),
]  # fmt: skip


@pytest.fixture
def plain(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A gateway without TLS; a parameter gives further top-level YAML."""
    yield from place(tmp_path, tls=False, top=getattr(request, "param", ""))


@pytest.mark.parametrize("row", LEAVING, ids=lambda row: row.name)
def test_who_leaves_is_billed_by_how_far_it_came(both: Place, row: Leaving) -> None:
    for way in WAYS["plain" if both.tls is None else "tls"]:
        request_id, head = both.head(row.start, row.fields)
        client = both.connect()
        client.sendall(head + row.body)
        upstream = both.upstream()
        until(upstream, row.body[-4:] or b"\r\n\r\n")
        if row.answer:
            upstream.sendall(row.answer)
            until(client, row.answer[-4:])
        held = both.socket_of(client)
        leave(client, way)
        if row.after:
            wait_until(lambda held=held: both.has_closed(held))
            upstream.sendall(row.after)
        record = both.record(request_id)
        assert books(record) == row.books, way
        if not row.after:
            assert rest(upstream) == b""
        if "settled" in row.start:
            assert record.charged_micro == {"dc": 7_000_000}
        upstream.close()
        client.close()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /a HTTP/1.1\r\nHost: a\r\n"])
def test_who_leaves_before_its_head_is_whole_has_no_record(both: Place, sent: bytes) -> None:
    before = len(both.records())
    for way in WAYS["plain" if both.tls is None else "tls"]:
        client = both.connect()
        client.sendall(sent)
        leave(client, way)
        client.close()
    both.record(ask_the_gateway(both))
    assert len(both.records()) == before + 1


def test_who_leaves_between_two_requests_has_had_its_answer(both: Place) -> None:
    for way in WAYS["plain" if both.tls is None else "tls"]:
        request_id, head = both.head("GET /a HTTP/1.1", "")
        client = both.connect()
        client.sendall(head)
        with both.upstream() as upstream:
            until(upstream, b"\r\n\r\n")
            upstream.sendall(OK)
        until(client, b"ok")
        leave(client, way)
        client.close()
        assert books(both.record(request_id)) == COMPLETED


def ask_the_gateway(both: Place) -> str:
    """Return the id of a request that the gateway has answered by itself."""
    request_id, head = both.head("OPTIONS /a HTTP/1.1", "Max-Forwards: 0\r\n")
    with both.connect() as client:
        client.sendall(head)
        until(client, b"\r\n\r\n")
    return request_id


@pytest.mark.parametrize("way", ["fin", "close", "reset"])
def test_an_end_in_the_same_packet_costs_what_the_upstream_was_given(both: Place, way: str) -> None:
    """Free if the request never came to the upstream as a whole, otherwise billed by its status."""
    expected = {}
    for _ in range(3):
        request_id, head = both.head("POST /a HTTP/1.1", LENGTH_4)
        client = both.connect()
        client.sendall(head + b"body")
        held = both.socket_of(client)
        leave(client, way)
        wait_until(lambda held=held: both.has_closed(held))
        client.close()
        both.listener.settimeout(0.5)
        expected[request_id] = FREE
        gone = suppress(TimeoutError, AssertionError, ConnectionResetError)
        with gone, both.upstream() as upstream:
            until(upstream, b"body")
            expected[request_id] = FINISHED
            # It has looked at all its connections when it answers; its own answers to callers
            # would share a record when there are more than ten in a second.
            assert httpx.get(f"{both.gateway.admin_url}/healthz").status_code == 200
            upstream.sendall(OK)
        both.listener.settimeout(SECONDS)
        if way != "reset":  # which may take the request with it before it was read
            assert books(both.record(request_id)) == expected[request_id]
    both.record(ask_the_gateway(both))
    for record in both.records():
        assert books(record) == expected.get(record.request_id, books(record))


def test_what_is_pipelined_behind_it_is_neither_charged_nor_recorded(both: Place) -> None:
    for way in WAYS["plain" if both.tls is None else "tls"]:
        heads = [both.head("GET /a HTTP/1.1", "") for _ in range(3)]
        before = len(both.records())
        client = both.connect()
        client.sendall(b"".join(head for _, head in heads) + b"GET /half HTTP/1.1\r\n")
        upstream = both.upstream()
        until(upstream, b"\r\n\r\n")
        leave(client, way)
        assert books(both.record(heads[0][0])) == FREE
        assert rest(upstream) == b""
        upstream.close()
        client.close()
        assert len(both.records()) == before + 1


def test_who_is_not_read_from_is_noticed_within_a_second(both: Place) -> None:
    """More requests wait than are read ahead; the FIN lies behind them."""
    for way in WAYS["plain" if both.tls is None else "tls"]:
        request_id, head = both.head("GET /a HTTP/1.1", "")
        _, others = both.head("GET /b HTTP/1.1", "")
        before = len(both.records())
        client = both.connect()
        client.sendall(head + others * 40)
        upstream = both.upstream()
        until(upstream, b"\r\n\r\n")
        leave(client, way)
        if way == "close_notify":  # which stays unread, but the FIN behind it
            client.close()
        assert books(both.record(request_id)) == FREE, way
        assert rest(upstream) == b""
        upstream.close()
        client.close()
        assert len(both.records()) == before + 1


def test_a_reset_is_noticed_over_an_upload_that_stands_still(both: Place) -> None:
    request_id, head = both.head("POST /a HTTP/1.1", "Content-Length: 50000000\r\n")
    client = both.connect()
    client.sendall(head)
    upstream = both.upstream()
    client.settimeout(0.3)
    with suppress(TimeoutError, ssl.SSLError):
        while True:
            client.send(b"x" * 65_536)
    leave(client, "reset")
    assert books(both.record(request_id)) == FREE
    upstream.close()


# Tunnels

UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_a_tunnel_passes_an_end_on_but_not_over_tls(both: Place) -> None:
    _, head = both.head("GET /a HTTP/1.1", UPGRADE)
    client = both.connect()
    client.sendall(head)
    upstream = both.upstream()
    until(upstream, b"\r\n\r\n")
    upstream.sendall(SWITCHING)
    until(client, b"\r\n\r\n")
    client.sendall(b"last words")
    leave(client, "fin")

    assert rest(upstream) == b"last words"
    if both.tls is None:
        upstream.sendall(b"answer")
        upstream.shutdown(socket.SHUT_WR)
        assert rest(client) == b"answer"
    upstream.close()
    client.close()
    wait_until(lambda: both.gateway.metric("gateway_tunnels_open") == 0)


# Where half-closed clients are answered, and where the gateway stops


@pytest.mark.parametrize("plain", ["limits: {half_close: answer}"], indirect=True)
def test_a_client_may_be_allowed_to_close_its_side(plain: Place) -> None:
    """As in ``printf ... | nc``."""
    request_id, head = plain.head("GET /a HTTP/1.0", "")
    with plain.connect() as client:
        client.sendall(head)
        client.shutdown(socket.SHUT_WR)
        with plain.upstream() as upstream:
            until(upstream, b"\r\n\r\n")
            upstream.sendall(OK)
        assert rest(client).endswith(b"ok")
    assert books(plain.record(request_id)) == COMPLETED


def test_over_tls_that_is_a_warning(tmp_path: Path) -> None:
    for running in place(tmp_path, tls=True, top="limits: {half_close: answer}"):
        assert "no effect on this listener" in running.gateway.events()
        request_id, head = running.head("GET /a HTTP/1.1", "")
        client = running.connect()
        client.sendall(head)
        upstream = running.upstream()
        until(upstream, b"\r\n\r\n")
        leave(client, "fin")
        assert books(running.record(request_id)) == FREE
        upstream.close()
        client.close()


@pytest.mark.parametrize("plain", ["drain: 500ms"], indirect=True)
def test_the_drain_bounds_what_goes_on_for_nobody(plain: Place) -> None:
    request_id, head = plain.head("POST /a HTTP/1.1", LENGTH_4)
    client = plain.connect()
    client.sendall(head + b"body")
    upstream = plain.upstream()
    until(upstream, b"body")
    held = plain.socket_of(client)
    client.close()
    wait_until(lambda: plain.has_closed(held))

    assert plain.gateway.stop() == 0

    assert rest(upstream) == b""
    upstream.close()
    assert books(plain.record(request_id)) == FREE
