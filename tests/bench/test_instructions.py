"""What is counted is what requests took, and each request was answered."""

import socket

import pytest

from bench.instructions import ANSWER, Upstream, ask, total_of


def test_the_last_sum_of_a_file_counts() -> None:
    assert total_of("events: Ir\nsummary: 12\n\nfn=(1)\n0 12\n\ntotals: 34\n") == 34


def test_a_file_without_a_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="no total"):
        total_of("")


def test_the_answer_is_as_long_as_it_says() -> None:
    head, _, body = ANSWER.partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head


def test_every_request_is_answered() -> None:
    with Upstream() as upstream:
        ask(upstream.port, {"Authorization": "Bearer x"}, 9)


def test_a_closed_connection_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.close()
        with pytest.raises(ConnectionError):
            ask(port, {}, 1)
