"""The upstream side of one connection: sends a request, receives its answer, hands it on.

Bytes of the answer go to ``sink`` as they arrive; until there is one they wait, within bounds. The
story awaits only two things here: the answer's head and its end.
Source: RFC 9112 6 (framing), RFC 9110 15.2 (interim answers); requirement X1.
"""

import asyncio
import re
from abc import abstractmethod
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import httptools

from gateway.http.chunks import Trailers
from gateway.http.field_lines import Field
from gateway.http.fields import decimal, has_token, lower, trimmed
from gateway.proxy.answer import HEAD_BYTES_MAX, Answer, whole_answer
from gateway.proxy.balancing import EndpointState
from gateway.proxy.flow import (
    BUFFER_HIGH_WATER_BYTES,
    WRITE_HIGH_WATER_BYTES,
    Reading,
    left_unread,
)
from gateway.story import pause

INTERIM_MAX: Final = 16
"""Interim answers taken before the final one; more would be a flood."""

_NO_PARSER: Final = httptools.HttpResponseParser(None)
_PHRASES: Final = frozenset(status.phrase.encode() for status in HTTPStatus)
_REASON: Final = re.compile(rb"[\t -~\x80-\xff]*")
"""The parser lets control characters through (RFC 9112 4)."""
_BEGINNING: Final = b"HTTP/1."
"""The parser would take other versions, protocols and empty lines as well."""
_SERVER_ERROR: Final = 500
_FAILURES: Final = frozenset({"closed", "timeout", "protocol"})
"""What is the endpoint's fault and not the client's or the plan's."""


class UpstreamError(Exception):
    """The upstream failed; says whether the request may have been seen.

    Attributes:
        kind: ``connect``, ``timeout``, ``protocol``, ``closed``, ``execution``, ``overloaded``,
            ``circuit``, ``refused`` (the gateway found fault with the request as it streamed) or
            ``client_gone``.
        request_sent: Whether any byte of the request left.
        answered: Whether any byte of an answer came.
    """

    def __init__(self, kind: str, *, request_sent: bool = True, answered: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.request_sent = request_sent
        self.answered = answered


class AnswerSink:
    """Where an answer goes while it streams."""

    @abstractmethod
    def answer_data(self, data: bytes) -> None:
        """Take a piece of the answer's body."""
        raise NotImplementedError

    @abstractmethod
    def answer_interim(self, status: int, reason: bytes, fields: list[Field]) -> None:
        """Take an interim answer."""
        raise NotImplementedError

    @abstractmethod
    def resume(self) -> None:
        """Go on: what may be waited for has come."""
        raise NotImplementedError


class UpstreamConnection(asyncio.Protocol):
    """One connection to one endpoint; serves one request at a time.

    Attributes:
        address: Where a host name stood for when it was connected; empty for other endpoints.
        is_retired: Whether the name stands for other addresses by now: no further request.
        is_trial: Whether its request decides whether an ejected endpoint is used again.
        is_circuit_probe: Whether its request decides whether an open circuit is closed.
    """

    __slots__ = (
        "_answer", "_awaited_bytes", "_error", "_fields", "_head_bytes", "_interim",
        "_interims", "_is_head_request", "_on_closed", "_parser", "_reason", "_time",
        "_trailers", "_usual", "address", "answered", "body_done", "endpoint", "expires_at",
        "is_circuit_probe", "is_closed", "is_retired", "is_streaming", "is_trial",
        "keep_alive", "reading", "request_chunked", "request_sent", "sink", "touched_at",
        "transport", "tunnel", "tunnel_half_closed", "uses", "write_paused", "write_resumed",
    )  # fmt: skip

    transport: asyncio.Transport
    reading: Reading

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: EndpointState,
        on_closed: Callable[["UpstreamConnection"], None],
    ) -> None:
        self._time = loop.time  # looked up once
        self._usual: list[Field] = []
        self.endpoint = endpoint
        self._on_closed = on_closed
        self.is_closed = False
        self.uses = 0
        self.address = ""
        self.is_retired = False
        self.is_trial = False
        self.is_circuit_probe = False
        self.expires_at = 0.0
        self.touched_at = 0.0
        self.tunnel: Callable[[bytes], None] | None = None
        self.tunnel_half_closed: Callable[[], bool] | None = None
        self.write_paused = False
        self.write_resumed: Callable[[], None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._answer: Answer | None = None
        self._error: UpstreamError | None = None
        self._fields: list[Field] = []
        self._trailers: Trailers | None = None
        self._reason = b""
        self._head_bytes = 0
        self._awaited_bytes = 0
        self._interim = False
        self._interims = 0
        self._is_head_request = False
        self.keep_alive = True
        self.sink: AnswerSink | None = None
        self.is_streaming = False
        self.answered = False
        self.request_sent = False
        self.request_chunked = False
        self.body_done = False

    # What the pool and the story do

    def send_head(
        self, head: bytes, sink: AnswerSink, *, is_head_request: bool, chunked: bool, ends: bool
    ) -> None:
        """Begin a request; ``ends`` means that ``head`` is all there is of it."""
        self.sink = sink
        self.uses += 1
        self._is_head_request = is_head_request
        self.request_chunked = chunked
        self.body_done = ends
        self.request_sent = True
        self.touched_at = self._time()
        self.transport.write(head)

    def send_body(self, data: bytes) -> None:
        """Send a piece of the request's body."""
        if self.is_closed:
            return
        self.touched_at = self._time()
        if self.request_chunked:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self.transport.write(data)

    def end_body(self, trailers: bytes) -> None:
        """End the request's body; ``trailers`` are whole lines."""
        self.body_done = True
        if self.request_chunked and not self.is_closed:
            self.transport.write(b"0\r\n" + trailers + b"\r\n")

    def answer_head(self) -> Answer | None:
        """Return the answer once its head is here, None until then: the waiting story looks again.

        Raises:
            UpstreamError: it will not come.
        """
        if self._answer is None and self._error is not None:
            raise self._error
        return self._answer

    async def answer_end(self) -> None:
        """Wait for the end of the answer.

        Raises:
            UpstreamError: it was cut off.
        """
        answer = self._answer
        assert answer is not None
        while not answer.complete:
            if self._error is not None:
                raise self._error
            await pause()

    def stream(self) -> list[bytes]:
        """Return what waits of the body; from now on the sink gets the rest as it comes."""
        answer = self._answer
        assert answer is not None
        waiting, answer.chunks = answer.chunks, []
        self.is_streaming = True
        self.reading.resume("unread")
        return waiting

    def leftover(self) -> bytes:
        """Return what came after the head of an upgrade's answer."""
        return self._answer.leftover if self._answer is not None else b""

    def fail(self, kind: str) -> None:
        """Give up on this request: the waiting story gets the error, the connection is closed."""
        if self._error is None:
            self._error = UpstreamError(
                kind, request_sent=self.request_sent, answered=self.answered
            )
        self.abort()
        self._wake()

    def abort(self) -> None:
        """Close at once."""
        if not self.is_closed:
            self.is_closed = True
            self.transport.abort()

    def has_sent_all(self) -> bool:
        """Return whether the request is with the upstream as a whole."""
        return self.body_done and not self.transport.get_write_buffer_size()

    def end_here(self) -> None:
        """Take what has come of the answer for all of it: the client waits for no more."""
        if self._answer is not None:
            self._answer.complete = True
        self.abort()
        self._wake()

    def excuse(self) -> None:
        """Let nothing that went wrong count as the endpoint's failure: its client had left."""
        answer = self._answer
        if self._error is not None or (answer is not None and answer.status >= _SERVER_ERROR):
            self._error = UpstreamError("client_gone", answered=self.answered)

    def may_be_reused(self) -> bool:
        """Return whether another request may follow on this connection."""
        answer = self._answer
        return (
            not self.is_closed
            and self.keep_alive
            and self.body_done
            and self._error is None
            and answer is not None
            and answer.complete
            and not self.write_paused
            and self.tunnel is None
            and not self.is_retired
        )

    def failure(self) -> str:
        """Return how the endpoint failed the request: closed, timeout, protocol; empty if not.

        A kept connection that is closed before an answer is nobody's failure: both sides may close
        one at any time.
        """
        error = self._error
        if error is None or error.kind not in _FAILURES or not self.request_sent:
            return ""
        if self._answer is not None and self._answer.complete:
            return ""  # what came after it
        is_stale = error.kind == "closed" and self.uses > 1 and not self.answered
        return "" if is_stale else error.kind

    def status(self) -> int:
        """Return the status of the answer if it came whole, 0 if not."""
        answer = self._answer
        if self._error is not None or answer is None or not answer.complete:
            return 0
        return answer.status

    def release(self) -> None:
        """Forget the finished request."""
        self._reset()

    def _wake(self) -> None:
        if self.sink is not None:
            self.sink.resume()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]  # uvloop's class is not a subclass
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        self.reading = Reading(self.transport)

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel(data)
            return
        if not self.request_sent or (self._answer is not None and self._answer.complete):
            self.fail("protocol")
            return
        if not self.answered and data[:7] != _BEGINNING[: len(data)]:
            self.fail("protocol")
            return
        is_first = not self.answered
        self.answered = True
        self.touched_at = self._time()
        if is_first and not self._is_head_request:
            self._answer = whole_answer(data, self._usual)
        if self._answer is None or not self._answer.complete:
            self._parse(data)
        if self._answer is not None or self._error is not None:
            self._wake()

    def _parse(self, data: bytes) -> None:
        self._awaited_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._answer is not None:
                self._answer.leftover = data[upgrade.args[0] :]
                self.keep_alive = False
        except httptools.HttpParserError:
            self.fail("protocol")
            return
        if self._awaited_bytes > HEAD_BYTES_MAX:
            # A head, a line of a chunk or trailers without end: the parser keeps what is not whole.
            self.fail("protocol")

    def eof_received(self) -> bool:
        closed = self.tunnel_half_closed
        if closed is not None and self.transport.get_extra_info("ssl_object") is None and closed():
            return True
        if not self.request_sent:
            self.is_closed = True  # the loop closes it; until then nobody may take it
        self._ended(clean=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if exc is not None and self.request_sent and self.tunnel is None and self._error is None:
            # It had no use for the rest of the request, perhaps, and said so (RFC 9112 9.5).
            for data in left_unread(self.transport, BUFFER_HIGH_WATER_BYTES):
                self.data_received(data)
        # Over TLS a close_notify comes first (above); a mere FIN anybody can send (RFC 9112 9.8).
        is_tls = self.transport.get_extra_info("ssl_object") is not None
        self._ended(clean=exc is None and not is_tls)
        if self.write_resumed is not None:
            self.write_resumed()
        self._on_closed(self)
        # What refers back would be found by the garbage collector only.
        self._parser = _NO_PARSER
        self.tunnel = self.tunnel_half_closed = self.write_resumed = self.sink = None

    def _ended(self, *, clean: bool) -> None:
        self.keep_alive = False
        if self.tunnel is not None:
            self.tunnel(b"")
            return
        answer = self._answer
        if answer is not None and not answer.complete and self._error is None:
            delimited_by_close = not answer.has_length and not answer.is_chunked
            if clean and delimited_by_close:
                answer.complete = True
            else:
                self._error = UpstreamError("closed", answered=True)
        elif answer is None and self._error is None:
            self._error = UpstreamError(
                "closed", request_sent=self.request_sent, answered=self.answered
            )
        self._wake()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.write_resumed is not None:
            self.write_resumed()

    # httptools callbacks

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_BYTES_MAX:
            raise ValueError("head too large")
        if self._answer is None:
            self._fields.append(Field(name, lower(name), value))
        elif self._answer.complete:
            raise ValueError("an answer that nobody asked for")
        elif self._trailers is None:
            self._trailers = [(name, value)]
        else:
            self._trailers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is not None:
            raise ValueError("an answer that nobody asked for")
        fields, self._fields, self._head_bytes = self._fields, [], 0
        reason, self._reason = self._reason, b""
        if reason != b"OK" and reason not in _PHRASES and not _REASON.fullmatch(reason):
            raise ValueError("control characters in the reason phrase")
        if not 200 <= status < 600 and status != 101:
            self._take_interim(status, reason, fields)
            return
        answer = Answer(status, reason, fields)
        for field in fields:
            if field.frames:
                self._note_framing(answer, field.key, field.value)
            elif field.key == b"date":
                answer.has_date = True
        self._answer = answer
        answer.no_body = self._is_head_request or status in (204, 304, 101)
        if answer.no_body:
            answer.complete = True
            self.keep_alive = self._keeps_alive(answer)
            if self._is_head_request:
                # llhttp does not know that this answer has no body; its state can't be used again.
                self._parser = httptools.HttpResponseParser(self)

    def _take_interim(self, status: int, reason: bytes, fields: list[Field]) -> None:
        if not 100 <= status < 200:
            raise ValueError("no such status")
        self._interim = True
        self._interims += 1
        if self._interims > INTERIM_MAX:
            raise ValueError("too many interim answers")
        if self.sink is not None:
            self.sink.answer_interim(status, reason, fields)

    def _note_framing(self, answer: Answer, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            answer.has_length = True
            answer.length = decimal(trimmed(value))
        elif name == b"transfer-encoding":
            if answer.is_chunked or value.lower() != b"chunked":
                raise ValueError("a transfer coding that nobody asked for")
            answer.is_chunked = True
        elif name == b"connection":
            answer.connection = [*(answer.connection or ()), value]

    def on_body(self, data: bytes) -> None:
        answer = self._answer
        assert answer is not None
        self._awaited_bytes = 0
        if answer.no_body:
            self.keep_alive = False
            return
        if self.is_streaming and self.sink is not None:
            self.sink.answer_data(data)
            return
        answer.chunks.append(data)
        answer.buffered_bytes += len(data)
        if answer.buffered_bytes > BUFFER_HIGH_WATER_BYTES:
            self.reading.pause("unread")

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        answer = self._answer
        if answer is None or answer.no_body:
            return
        answer.complete = True
        if answer.buffered_bytes > BUFFER_HIGH_WATER_BYTES:
            self.reading.resume("unread")
        answer.trailers = self._trailers
        self.keep_alive = self._keeps_alive(answer)

    def _keeps_alive(self, answer: Answer) -> bool:
        """Return whether another request may follow on this connection (RFC 9112 9.3)."""
        if not self._parser.should_keep_alive():
            return False
        if not (answer.is_chunked or answer.connection) or self._parser.get_http_version() != "1.0":
            return True
        # llhttp keeps those of HTTP/1.0 that are chunked too (RFC 9112 6.1), or also say `close`.
        return not (answer.is_chunked or has_token(answer.connection or [], b"close"))
