"""A request that was due counts from then, whenever it could be sent."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bench.paced.__main__ import figures, percentile
from bench.paced.answers import EchoAnswers, HttpAnswers, masked
from bench.paced.drive import Line, Seen, drive

needs_epoll = pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs Linux")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class SlowServer:
    """Answers one connection; the first answer waits until it is let go."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.go_on = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while data := self._link.recv(65_536):
                self.go_on.wait(10)
                self._link.sendall(ANSWER * data.count(b"\r\n\r\n"))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = socket.socketpair()
    yield client, server
    client.close()
    server.close()


@needs_epoll
def test_all_that_was_due_is_sent_and_answered(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    SlowServer(server).go_on.set()

    seen = drive([Line(client, HttpAnswers(200))], REQUEST, rate=500, seconds=0.1)

    assert len(seen.latencies_ns) == 50
    assert (seen.wrong, seen.unanswered) == (0, 0)
    assert seen.read_bytes == 50 * len(ANSWER)
    assert len(seen.lags_ns) <= 50


@needs_epoll
def test_a_stall_is_charged_to_all_who_would_have_asked_meanwhile(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    slow = SlowServer(server)
    begun = time.monotonic_ns()

    def let_go() -> None:
        # All ten are due 0.1 s after the start; whatever the machine does, they wait until then.
        while time.monotonic_ns() - begun < 400_000_000:
            time.sleep(0.01)
        slow.go_on.set()

    threading.Thread(target=let_go, daemon=True).start()
    seen = drive([Line(client, HttpAnswers(200))], REQUEST, rate=100, seconds=0.1)

    assert len(seen.latencies_ns) == 10
    # A closed loop would have seen one slow answer and nine quick ones.
    assert seen.latencies_ns[0] > 200_000_000


@needs_epoll
def test_wrong_answers_and_closed_connections_are_told(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    SlowServer(server).go_on.set()

    seen = drive([Line(client, HttpAnswers(429))], REQUEST, rate=100, seconds=0.05)
    assert seen.wrong == 5

    server.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionError, match="closed"):
        drive([Line(client, HttpAnswers(200))], REQUEST, rate=100, seconds=0.05)


def test_answers_end_where_they_end() -> None:
    answers = HttpAnswers(200)
    assert not answers.is_complete(ANSWER[:10])
    assert not answers.is_complete(ANSWER[10:-1])
    assert answers.is_complete(ANSWER[-1:])
    assert answers.is_right

    chunked = b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    assert not answers.is_complete(chunked)
    assert answers.is_complete(b"0\r\n\r\n")
    assert not answers.is_right

    with pytest.raises(ValueError, match="without an end"):
        answers.is_complete(b"HTTP/1.1 200 OK\r\n\r\n")


def test_an_echo_is_the_same_payload() -> None:
    answers = EchoAnswers(b"abcd")
    assert masked(b"abcd") == b"\x82\x84\x11\x22\x33\x44" + bytes((0x70, 0x40, 0x50, 0x20))
    assert not answers.is_complete(b"\x82\x04ab")
    assert answers.is_complete(b"cd")
    assert answers.is_right
    assert answers.is_complete(b"\x82\x04abce")
    assert not answers.is_right
    with pytest.raises(ValueError, match="125"):
        masked(b"x" * 126)


def test_percentiles_are_values_that_were_seen() -> None:
    ordered = [number * 1_000_000_000 for number in range(1, 1001)]

    assert percentile(ordered, 50) == 501.0
    assert percentile(ordered, 99.9) == 1000.0
    assert percentile([], 50) == 0.0


def test_what_was_never_answered_is_a_failure() -> None:
    seen = Seen(latencies_ns=[1, 2, 3], lags_ns=[1], wrong=1, unanswered=1)

    told = figures(seen, 0.5)
    assert (told["requests"], told["failed"], told["own_cpu_seconds"]) == (2, 2, 0.5)
