"""An answer that needs no parser is read as llhttp reads it, to the byte."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http.field_lines import Field
from gateway.proxy.answer import USUAL_MAX, Answer, whole_answer


class Judge:
    """One answer, as llhttp reads it."""

    def __init__(self, data: bytes) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.completed = 0
        self.keeps_alive = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)
        self.status = self.parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.completed += 1
        self.keeps_alive = self.parser.should_keep_alive()


LINES = st.sampled_from([
    b"Server: a", b"Date: Sat, 21 Nov 2026 17:00:00 GMT", b"Content-Type: text/plain",
    b"X: y", b"X:y", b"X: ", b"X_Y: z", b"X: \xe9", b" folded", b"Connection: keep-alive",
    b"Connection: close", b"Connection: x", b"Upgrade: h2c", b"Transfer-Encoding: chunked",
    b"Content-Length: 0", b"Content-Length: 2", b"Content-Length: 02", b"Content-Length: 3",
    b"Keep-Alive: timeout=5", b"Proxy-Connection: close", b"Trailer: X", b"X: a\rb",
    b"X: a\nContent-Length: 2", b"",
])  # fmt: skip
FIRST = st.sampled_from([
    b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 503 Service Unavailable",
    b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 Fine", b"HTTP/1.1 200",
    b"HTTP/1.1 600 No", b" HTTP/1.1 200 OK", b"",
])  # fmt: skip
BODIES = st.sampled_from([b"", b"ok", b"ok?", b"\r\n", b"0\r\n\r\n", b"ok\r\n\r\n"])


@given(FIRST, st.lists(LINES, max_size=5), BODIES)
@example(b"HTTP/1.1 200 OK", [b"Server: a", b"Content-Length: 2"], b"ok")
@example(b"HTTP/1.1 200 OK", [b"Content-Length: 0"], b"")
def test_what_needs_no_parser_is_read_as_one_reads_it(
    first: bytes, lines: list[bytes], body: bytes
) -> None:
    data = b"\r\n".join([first, *lines, b"", b""]) + body
    answer = whole_answer(data, [])
    if answer is None:
        return
    judge = Judge(data)

    assert answer.status == judge.status
    assert [(field.name, field.value) for field in answer.fields] == judge.pairs
    assert (b"".join(answer.chunks), answer.buffered_bytes) == (judge.body, len(judge.body))
    assert (answer.complete, answer.length) == (judge.completed == 1, len(judge.body))
    assert judge.keeps_alive
    assert answer.has_date is any(name == b"Date" for name, _ in judge.pairs)
    assert (answer.no_body, answer.is_chunked) == (False, False)
    assert (answer.connection, answer.trailers) == (None, None)


ANSWERS = st.tuples(FIRST, st.lists(LINES, max_size=5), BODIES)


@given(st.lists(ANSWERS, max_size=6))
def test_what_earlier_answers_said_changes_no_later_one(
    answers: list[tuple[bytes, list[bytes], bytes]],
) -> None:
    usual: list[Field] = []
    for first, lines, body in answers:
        data = b"\r\n".join([first, *lines, b"", b""]) + body
        read, alone = whole_answer(data, usual), whole_answer(data, [])

        assert (read is None) is (alone is None)
        if read is not None and alone is not None:
            assert [field.line for field in read.fields] == [field.line for field in alone.fields]
            assert (read.status, read.length, read.has_date, read.chunks) == (
                alone.status, alone.length, alone.has_date, alone.chunks
            )  # fmt: skip


def test_lines_that_come_again_are_not_looked_up_again_and_only_so_many_are_kept() -> None:
    lines = [b"Content-Length: 2", *(b"Server: a%d" % number for number in range(2 * USUAL_MAX))]
    data = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b"ok"])
    usual: list[Field] = []
    first, again = whole_answer(data, usual), whole_answer(data, usual)

    assert first is not None
    assert again is not None
    assert usual == first.fields[:USUAL_MAX] == again.fields[:USUAL_MAX]


def test_what_may_be_somebodys_is_not_kept() -> None:
    usual: list[Field] = []
    secret = b"Set-Cookie: session=1"
    data = b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 2\r\n\r\nok"
    assert whole_answer(data % secret, usual) is not None

    assert [field.key for field in usual] == [b"", b"content-length"]


def read(head: bytes, body: bytes = b"ok") -> Answer | None:
    return whole_answer(head.replace(b"|", b"\r\n") + b"\r\n\r\n" + body, [])


def test_the_usual_answer_needs_none() -> None:
    answer = read(b"HTTP/1.1 200 OK|Server: a|Connection: keep-alive|X-Y: z|Content-Length: 2")

    assert answer is not None
    assert (answer.status, answer.reason, answer.has_length) == (200, b"", True)
    assert answer.chunks == [b"ok"]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK", b"ok"),
        (b"HTTP/1.1 200 OK|Content-Length: 2", b""),
        (b"HTTP/1.1 200 OK|Content-Length: 2", b"o"),
        (b"HTTP/1.1 200 OK|Content-Length: 2", b"ok!"),
        (b"HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 2", b"ok"),
        (b"HTTP/1.1 200 OK|Content-Length: 2|Transfer-Encoding: chunked", b"ok"),
        (b"HTTP/1.1 200 OK|Content-Length: 2|Connection: close", b"ok"),
        (b"HTTP/1.1 200 OK|Content-Length: 2|Connection: Upgrade", b"ok"),
        (b"HTTP/1.1 200 OK|Content-Length: 02", b"ok"),
        (b"HTTP/1.1 200 OK|Content-Length: 2| X: y", b"ok"),
        (b"HTTP/1.1 200 OK |Content-Length: 2", b"ok"),
        (b"HTTP/1.0 200 OK|Content-Length: 2", b"ok"),
        (b"HTTP/1.1 204 No Content|Content-Length: 0", b""),
        (b"HTTP/1.1 304 Not Modified|Content-Length: 0", b""),
        (b"HTTP/1.1 100 Continue|Content-Length: 0", b""),
        (b"", b"ok"),
    ],
)
def test_whatever_else_it_may_be_is_left_to_the_parser(head: bytes, body: bytes) -> None:
    assert read(head, body) is None


def test_half_a_head_is_none() -> None:
    assert whole_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", []) is None
