"""An independent judge of every byte on the wire: h11 reads what the gateway sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import h11

Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """A request or an answer as h11 read it; names as they were written.

    Attributes:
        start: ``(method, target)`` or ``(status,)``.
        is_whole: Whether its end was seen.
    """

    start: tuple[bytes, ...]
    version: bytes
    fields: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    is_whole: bool = False
    interim: list["Message"] = field(default_factory=list)

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field, in order."""
        return [value for known, value in self.fields if known.lower() == name]

    @property
    def status_or_zero(self) -> int:
        """An answer's status, 0 of a request."""
        return int(self.start[0]) if self.start[0].isdigit() else 0

    @property
    def status(self) -> int:
        """An answer's status."""
        return int(self.start[0])


def requests_in(data: bytes) -> list[Message]:
    """Return the requests in what an upstream received.

    Raises:
        h11.RemoteProtocolError: it is not HTTP.
    """
    messages: list[Message] = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        match event:
            case h11.Request():
                start = (event.method, event.target)
                messages.append(Message(start, event.http_version, event.headers.raw_items()))
            case h11.Data():
                messages[-1].body += bytes(event.data)
            case h11.EndOfMessage():
                messages[-1].is_whole = True
                messages[-1].trailers = event.headers.raw_items()
            case h11.PAUSED:
                if connection.their_state is h11.MIGHT_SWITCH_PROTOCOL:
                    return messages
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    assert connection.trailing_data[0] == b"", "more than was announced"
                    return messages
                connection.start_next_cycle()
            case _:
                return messages


def answers_in(data: bytes, methods: Sequence[bytes], *, ended: bool) -> list[Message]:
    """Return the answers in what a client received to requests with these methods, in order.

    Raises:
        h11.RemoteProtocolError: it is not HTTP, or it was cut in the middle of an answer.
        AssertionError: there is more than was asked for.
    """
    messages: list[Message] = []
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    for method in methods:
        if not connection.trailing_data[0]:
            break
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "judge")]))
        connection.send(h11.EndOfMessage())
        if not _read_answer(connection, messages, ended=ended):
            return messages
        if connection.their_state is h11.MUST_CLOSE or connection.our_state is h11.MUST_CLOSE:
            break
        if connection.their_state is h11.DONE:
            connection.start_next_cycle()
    assert connection.trailing_data[0] == b"", f"nobody asked for {connection.trailing_data[0]!r}"
    return messages


def _read_answer(connection: h11.Connection, messages: list[Message], *, ended: bool) -> bool:
    """Read one answer; return whether it came to its end."""
    interim: list[Message] = []
    while True:
        event = connection.next_event()
        match event:
            case h11.InformationalResponse():
                start = (b"%d" % event.status_code,)
                interim.append(Message(start, event.http_version, event.headers.raw_items()))
                if event.status_code == 101:
                    messages.append(interim.pop())
                    return False
            case h11.Response():
                start = (b"%d" % event.status_code,)
                message = Message(start, event.http_version, event.headers.raw_items())
                message.interim = interim
                messages.append(message)
            case h11.Data():
                messages[-1].body += bytes(event.data)
            case h11.EndOfMessage():
                messages[-1].is_whole = True
                messages[-1].trailers = event.headers.raw_items()
                return True
            case h11.NEED_DATA if ended:
                connection.receive_data(b"")
            case _:
                return False
