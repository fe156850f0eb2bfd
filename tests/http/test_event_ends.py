"""The last event of a stream is found however the stream is cut, and nothing else is."""

import pytest

from gateway.http.event_ends import LOOKED_AT_EVERY_BYTES, EventEnd, event_end_of
from gateway.http.field_lines import Field

CHAT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
MESSAGES = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
MESSAGES_IN_DATA = b'data: {"type": "message_stop"}\n\n'
RESPONSES = (
    b'event: response.completed\r\ndata: {"type":"response.completed","response":{"output":"'
    + b"long " * 5000
    + b'"}}\r\n\r\n'
)
LAST = [CHAT, MESSAGES, MESSAGES_IN_DATA, RESPONSES, CHAT.replace(b"\n", b"\r"), b"data:[DONE]\n\n"]


def passed(*pieces: bytes) -> bool:
    end = EventEnd()
    for piece in pieces:
        end.note(piece)
    return end.has_passed()


@pytest.mark.parametrize("stream", LAST)
def test_the_last_event_is_found_at_once_and_wherever_it_is_cut(stream: bytes) -> None:
    assert passed(stream)
    cuts = [*range(1, min(len(stream), 120)), *range(max(1, len(stream) - 40), len(stream))]
    for cut in cuts:
        assert passed(stream[:cut], stream[cut:]), cut
    assert passed(*(stream[at : at + 1] for at in range(len(stream))))


@pytest.mark.parametrize("stream", LAST)
def test_one_that_has_not_ended_is_not_the_last(stream: bytes) -> None:
    """Up to its blank line the client has not got it."""
    for cut in range(max(0, len(stream) - 10), len(stream)):
        end = EventEnd()
        end.note(stream[:cut])
        assert not end.has_passed()
        end.note(stream[cut:])
        assert end.has_passed()


def test_what_follows_the_last_event_does_not_matter() -> None:
    assert passed(MESSAGES, b": ping\n\n" * 5000)
    assert passed(b"event: ping\n\n" * 5000, CHAT, b"event: x\n")


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b'data: {"content":"data: [DONE]"}\n\n',
        b'data: {"content":"\\ndata: [DONE]\\n\\n"}\n\n',
        b"event: message_stopped\n\n",
        b"event: content_block_stop\n\nevent: response.completed.not\n\n",
        b"x-data: [DONE]\n\n",
        b"data: [DONE\n\n",
        b"data: [DONE]more\n\n",
    ],
)
def test_what_only_looks_like_it_is_not(stream: bytes) -> None:
    assert not passed(stream)
    assert not passed(*(stream[at : at + 1] for at in range(len(stream))))


def test_a_line_whose_beginning_is_forgotten_is_none() -> None:
    """Only lines count: the middle of a long one must not become the beginning of another."""
    for shift in range(80):
        filler = b'data: "' + b"x" * (LOOKED_AT_EVERY_BYTES + shift)
        assert not passed(filler, b"data: [DONE]\n\n")
        assert not passed(filler + b"data: [DONE]\n", b"\n")


def test_little_is_kept_of_a_long_stream() -> None:
    end = EventEnd()
    for _ in range(1000):
        end.note(b"data: {}\n\n" * 100)
        assert sum(map(len, end._pieces)) + len(end._tail) <= LOOKED_AT_EVERY_BYTES + 1100


@pytest.mark.parametrize(
    ("fields", "is_followed"),
    [
        ({b"content-type": b"text/event-stream"}, True),
        ({b"content-type": b"Text/Event-Stream; charset=utf-8"}, True),
        ({b"content-type": b"text/event-stream", b"content-encoding": b"identity"}, True),
        ({b"content-type": b"text/event-stream", b"content-encoding": b"gzip"}, False),
        ({b"content-type": b"application/json"}, False),
        ({}, False),
    ],
)
def test_only_readable_event_streams_are_followed(
    fields: dict[bytes, bytes], is_followed: bool
) -> None:
    found = event_end_of([Field(name, name, value) for name, value in fields.items()])
    assert (found is not None) == is_followed
