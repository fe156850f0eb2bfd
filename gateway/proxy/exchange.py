"""One request and its answer as the story sees them: head, body, relay, refuse, release.

An exchange never acts on its own: the story calls it, the client connection feeds it, the upstream
connection writes through it. Its last bytes wait in ``held`` until the record is in the journal.
Source: design section 3; RFC 9110 6.4, 10.1.1; RFC 9112 6; requirement X1.
"""

import asyncio
from abc import abstractmethod
from typing import Final

from gateway.errors import Refusal, RefusalCode
from gateway.http.chunks import Trailers
from gateway.http.event_ends import EventEnd, event_end_of
from gateway.http.field_lines import Field
from gateway.http.fields import HOP_BY_HOP, nominated
from gateway.http.forwarding import ClientOrigin, response_head, status_line
from gateway.http.problems import Problem, closes_connection
from gateway.http.trailers import trailer_lines
from gateway.metering.recorder import Waiter
from gateway.proxy.answer import Answer
from gateway.proxy.flow import BUFFER_HIGH_WATER_BYTES, Reading
from gateway.proxy.pool import UpstreamPool
from gateway.proxy.request_head import RequestHead
from gateway.proxy.tunnel import Opening
from gateway.proxy.upstream import UpstreamConnection
from gateway.story import Story, Teller, pause

NO_LENGTH: Final = -1
CAPTURED_BYTES_MAX: Final = 1024 * 1024
"""An answer whose body tells the cost is copied up to here; a longer one keeps the estimate."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NOTHING: Final[frozenset[bytes]] = frozenset()
_INTERIM_DROPPED: Final = HOP_BY_HOP | {b"content-length"}
"""An interim answer has no body (RFC 9112 6.3)."""


class ClientGone(Exception):  # noqa: N818 - not a malfunction
    """The client closed its connection before the end of the answer."""


class Charged:
    """What was counted for a request, until its record is kept."""

    @abstractmethod
    def give_back(self) -> None:
        """Undo it: the answer could not be recorded and was cut."""
        raise NotImplementedError


class ClientSide(Teller):
    """What an exchange needs of the connection that it came in on.

    A class and no ``typing.Protocol``: compiled code reaches its members without a look-up. Not an
    abstract one: what looks at one request alone makes it as it is.

    Attributes:
        known_secret: The key of an earlier request of this connection, so that the next one need
            not hash it again; it lives no longer than the connection.
        known_hash: Its hash.
        known_value: The value of the field that it stood in alone.
        known_place: The field, and whether it holds ``Bearer``.
        known_host: The host of an earlier request as it was sent.
        canonical_host: The same in its canonical form.
        refused: An earlier request that was refused, and will be again if it is repeated.
    """

    __slots__ = (
        "canonical_host", "known_hash", "known_host", "known_place", "known_secret",
        "known_value", "loop", "reading", "refused", "transport", "write_paused",
    )  # fmt: skip

    transport: asyncio.Transport
    reading: Reading

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.write_paused = False
        self.known_secret = b""
        self.known_hash = b""
        self.known_value: bytes | None = None
        self.known_place: tuple[bytes, bool] | None = None
        self.known_host = b""
        self.canonical_host = b""
        self.refused: Charged | None = None

    def story_failed(self, error: BaseException) -> None:
        """Learn that the story of a request ended with an error that it did not handle."""
        raise NotImplementedError

    def exchange_finished(self, exchange: "Exchange") -> None:
        """The last bytes of an answer are on their way."""
        raise NotImplementedError

    def has_departed(self) -> bool:
        """Return whether the client has left unnoticed; asks the kernel."""
        raise NotImplementedError

    def start_tunnel(self, upstream: UpstreamConnection, opening: Opening | None) -> None:
        """Join both sides after a 101."""
        raise NotImplementedError

    def break_off(self, *, by_reset: bool) -> None:
        """End the connection in the middle of an answer, once what came of it has arrived."""
        raise NotImplementedError

    def is_ending(self) -> bool:
        """Return whether an answer that begins now is the connection's last one."""
        raise NotImplementedError

    def date_line(self) -> bytes:
        """Return the ``Date`` line of answers that the gateway writes itself."""
        raise NotImplementedError

    def origin_lines(self, origin: ClientOrigin, host: bytes, via: bytes) -> bytes:
        """Return the lines that tell an upstream who calls."""
        raise NotImplementedError


class Exchange(RequestHead, Waiter):
    """One request and its answer.

    What most requests leave at its default stands on the class: setting forty attributes for each
    request would cost a microsecond. Where ``client_gone``, nothing more is written to the client:
    the request ``finishes`` all the same, ``bills_reserve``, or its client ``was_told_all``.
    """

    story: Story | None = None
    was_continued = False
    body_bytes = 0
    body_bytes_max = -1
    body_complete = False
    body_sink: UpstreamConnection | None = None
    body_seen_bytes = 0
    reads_body = False
    dropped_bytes_max = 0
    trailers: Trailers | None = None
    trailers_dropped: frozenset[bytes] = _NOTHING
    upstream: UpstreamConnection | None = None
    pool: UpstreamPool | None = None
    answer_begun = False
    writes_chunks = False
    answer_dropped: frozenset[bytes] = _NOTHING
    unsent_bytes = NO_LENGTH
    remaining = NO_LENGTH
    held = b""
    bytes_out = 0
    captured: list[bytes] | None = None
    charged: Charged | None = None
    tunnels = False
    opening: Opening | None = None
    client_gone = False
    finishes = False
    bills_reserve = False
    was_told_all = False
    events: EventEnd | None = None
    is_cut_off = False
    deadline = 0.0
    deadline_kind = ""
    total_deadline = 0.0
    idle_seconds = 0.0

    def __init__(self, client: ClientSide) -> None:
        self.client = client
        self.body_chunks: list[bytes] = []

    def body_data(self, data: bytes) -> None:
        """Take a piece of the body from the client."""
        self.body_bytes += len(data)
        if 0 <= self.body_bytes_max < self.body_bytes:
            self.refuse_body()
            return
        sink = self.body_sink
        if sink is not None:
            sink.send_body(data)
            if sink.write_paused:
                self.client.reading.pause("upstream")
            return
        self.body_chunks.append(data)
        if self.body_bytes > BUFFER_HIGH_WATER_BYTES and not self.reads_body:
            self.client.reading.pause("body")

    def body_end(self, trailers: Trailers) -> None:
        """Note that the body is complete."""
        self.body_complete, self.trailers = True, trailers
        if self.body_sink is not None:
            self.body_sink.end_body(trailer_lines(trailers, self.trailers_dropped))
            self.wait_for_answer()
        self.resume()

    def refuse_body(self) -> None:
        """The body grew beyond what the route takes: the story is told, the rest is dropped."""
        if self.dropped_bytes_max:
            if self.body_bytes > self.dropped_bytes_max:
                self.client.transport.close()
            return
        self.refusal = Refusal(RefusalCode.BODY_TOO_LARGE)
        self.keep_alive = False
        self.body_chunks.clear()
        self.resume()
        if self.upstream is not None:
            self.upstream.fail("refused")

    def drop_body(self, bytes_max: int) -> None:
        """Drop what still comes of the body; more than a bound closes the connection."""
        self.dropped_bytes_max = self.body_bytes + bytes_max
        self.body_bytes_max = 0
        self.body_sink = None
        self.body_chunks.clear()

    async def read_body(self, bytes_max: int) -> bytes:
        """Return the whole body, kept for forwarding.

        Raises:
            Refusal: larger than ``bytes_max``.
            ClientGone: it never came.
        """
        if self.content_length > bytes_max:
            raise Refusal(RefusalCode.BODY_TOO_LARGE)
        self.send_continue()
        while not self.body_complete:
            if self.client_gone:
                raise ClientGone
            if self.refusal is not None:
                raise self.refusal
            if self.body_bytes > bytes_max:
                raise Refusal(RefusalCode.BODY_TOO_LARGE)
            self.reads_body = True
            self.client.reading.resume("body")
            await pause()
        self.reads_body = False
        if self.body_bytes > bytes_max:
            raise Refusal(RefusalCode.BODY_TOO_LARGE)
        whole = b"".join(self.body_chunks)
        self.body_chunks = [whole] if whole else []
        return whole

    def send_continue(self) -> None:
        """Ask for the body if the client waits to be asked."""
        if self.expects_continue:
            self.expects_continue = False
            if not self.body_bytes:
                self.was_continued = True
                self.client.transport.write(CONTINUE)

    def resume(self) -> None:
        """Let the story go on: something that it may wait for has happened."""
        if self.story is not None:
            self.story.resume()

    def stream_body_to(self, upstream: UpstreamConnection) -> None:
        """Send what has arrived of the body and everything that follows as it comes."""
        for data in self.body_chunks:
            upstream.send_body(data)
        self.body_chunks.clear()
        if self.body_complete:
            upstream.end_body(trailer_lines(self.trailers, self.trailers_dropped))
            self.client.reading.resume("body")
            return
        self.body_sink = upstream
        upstream.write_resumed = self._upstream_resumed
        if not upstream.write_paused:
            self.client.reading.resume("body")

    def _upstream_resumed(self) -> None:
        self.client.reading.resume("upstream")
        self.client.reading.resume("body")

    # The answer

    def begin_answer(self, answer: Answer, added: bytes, dropped: frozenset[bytes]) -> None:
        """Pass the answer on as far as it is here, all but its last bytes.

        Args:
            answer: The upstream's answer; its head is here, its body may still be coming.
            added: Whole lines to add to the head.
            dropped: Lower-case names of fields that are not passed on, beside the hop-by-hop ones.
        """
        if self.has_body and not self.body_complete:
            self.keep_alive = False
        head = self._answer_head(answer, added, dropped)
        if answer.complete:
            body = b"".join(answer.chunks)
            self.bytes_out = len(body)
            if self.captured is not None:
                self.captured.append(body)
            if self.writes_chunks:
                body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + self._last_chunk(
                    answer
                )
            self.held = head + body
            return
        upstream = self.upstream
        assert upstream is not None
        self.answer_begun = True
        if not self.client_gone:
            self.events = event_end_of(answer.fields)
            self.client.transport.write(head)
        for data in upstream.stream():
            self.answer_data(data)

    async def rest_of_answer(self, answer: Answer) -> None:
        """Wait until an answer that was begun has been passed on, all but its last bytes.

        Raises:
            UpstreamError: the upstream broke off.
            ClientGone: the client left.
        """
        upstream = self.upstream
        assert upstream is not None
        await upstream.answer_end()
        if not self.client_gone and self.client.has_departed():
            self.was_told_all = self.has_told_last_event()
            self.client_gone = True
            self.keep_alive = False
        if self.client_gone and not (self.finishes or self.was_told_all):
            raise ClientGone
        if self.writes_chunks:
            self.held = self._last_chunk(answer)

    def _last_chunk(self, answer: Answer) -> bytes:
        trailers = trailer_lines(answer.trailers, self.answer_dropped)
        return b"0\r\n" + trailers + b"\r\n"

    def _answer_head(self, answer: Answer, added: bytes, dropped: frozenset[bytes]) -> bytes:
        if answer.connection:
            further = nominated(answer.connection)
            dropped = dropped | further if further else dropped
        if answer.status == 101:
            return response_head(
                101, answer.reason, answer.fields, dropped - {b"connection", b"upgrade"}, added
            )
        if not answer.has_date:
            added += self.client.date_line()
        if answer.status == 204 or (answer.is_chunked and answer.has_length):
            dropped |= {b"content-length"}
        elif answer.no_body:
            pass
        elif answer.has_length:
            self.remaining = answer.length
        elif self.http_minor == 1:
            self.writes_chunks = True
            self.answer_dropped = dropped
            added += b"Transfer-Encoding: chunked\r\n"
        else:
            self.keep_alive = False
        return response_head(
            answer.status, answer.reason, answer.fields, dropped, added + self._connection_line()
        )

    def _connection_line(self) -> bytes:
        """Return what a head says of its connection (RFC 9112 9.6), decided when it is written."""
        if not self.keep_alive or self.client.is_ending():
            self.keep_alive = False
            return b"Connection: close\r\n"
        return b"" if self.http_minor == 1 else b"Connection: keep-alive\r\n"

    def answer_data(self, data: bytes) -> None:
        """Pass on a piece of the answer's body (called by the upstream connection)."""
        transport = self.client.transport
        self.deadline = self.client.loop.time() + self.idle_seconds
        self.bytes_out += len(data)
        if self.captured is not None:
            self._capture(data)
        if self.client_gone:
            return
        if self.writes_chunks:
            transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
        elif self.remaining == NO_LENGTH:
            transport.write(data)
        else:
            self.remaining -= len(data)
            if self.remaining:
                transport.write(data)
            else:
                self.held = data
                return
        if self.events is not None:
            self.events.note(data)
        if self.client.write_paused and self.upstream is not None:
            self.upstream.reading.pause("client")

    def _capture(self, data: bytes) -> None:
        """Keep a copy of an answer that tells its cost in its body, up to a bound."""
        assert self.captured is not None
        self.captured.append(data)
        if self.bytes_out > CAPTURED_BYTES_MAX:
            self.captured = None

    def answer_interim(self, status: int, reason: bytes, fields: list[Field]) -> None:
        """Pass on an interim answer (RFC 9110 15.2), never to an HTTP/1.0 client.

        An unasked 100 too; but not the first one where the gateway sent its own.
        """
        if self.http_minor == 0 or self.client_gone or self.answer_begun:
            return
        if status == 100:
            self.expects_continue = False
            if self.was_continued:
                self.was_continued = False
                return
        named = [field.value for field in fields if field.key == b"connection"]
        dropped = _INTERIM_DROPPED | nominated(named) if named else _INTERIM_DROPPED
        self.client.transport.write(response_head(status, reason, fields, dropped, b""))

    def refuse(self, problem: Problem, code: RefusalCode, added: bytes) -> None:
        """Answer with a problem; an answer that has begun can only be cut off."""
        if self.answer_begun:
            self.cut()
            return
        if closes_connection(code) or (self.has_body and not self.body_complete):
            self.keep_alive = False
        date, connection = self.client.date_line(), self._connection_line()
        body = b"" if self.method == b"HEAD" else problem.body
        self.bytes_out = len(body)
        self.held = b"%bContent-Length: %d\r\n%b%b%b\r\n%b" % (
            problem.start, len(problem.body), added, date, connection, body,
        )  # fmt: skip

    def answer_options(self, allow: bytes, added: bytes) -> None:
        """Answer an ``OPTIONS`` that is the gateway's own to answer (RFC 9110 7.6.2, 9.3.7)."""
        if self.has_body and not self.body_complete:
            self.keep_alive = False
        added += self.client.date_line() + self._connection_line()
        self.held = b"%bAllow: %b\r\nContent-Length: 0\r\n%b\r\n" % (status_line(200), allow, added)

    def cut(self) -> None:
        """End an answer that has begun so that no client takes it for a whole one.

        What came of it goes out first. Where only the end of the connection ends the answer, it
        must be a reset.
        """
        self.held = b""
        self.keep_alive = False
        self.client.break_off(by_reset=self.ends_with_connection())

    # The end

    def release(self, written: bool) -> None:  # noqa: FBT001 - the journal's callback
        """Let the last bytes go, now that the record is (or can't be) in the journal."""
        client, charged = self.client, self.charged
        # Each refers back to this exchange: left alone, only the garbage collector would find it.
        self.story = self.charged = None
        if not written:
            client.transport.abort()
            if charged is not None:
                charged.give_back()
        elif not self.client_gone:
            if self.held:
                client.transport.write(self.held)
                self.held = b""
            if self.tunnels and self.upstream is not None and not self.upstream.is_closed:
                upstream, self.upstream = self.upstream, None
                client.start_tunnel(upstream, self.opening)
                return
        if self.opening is not None:
            self.opening.abandon()
        if self.tunnels:  # one of the three is not there for it: client, record, upstream
            self.tunnels = False
            self.let_upstream_go()
            client.transport.close()
        client.exchange_finished(self)

    def let_upstream_go(self) -> None:
        """Give the upstream connection back to its pool, if there is one and no tunnel needs it."""
        upstream, pool = self.upstream, self.pool
        if upstream is None or pool is None or self.tunnels:
            return
        self.upstream = None
        self.body_sink = None
        upstream.write_resumed = None
        if self.client_gone:
            upstream.excuse()
        if self.client.write_paused:
            upstream.reading.resume("client")
        pool.release(upstream)
        self.client.reading.resume("upstream")

    def has_told_last_event(self) -> bool:
        """Return whether this is an event stream of which the last event has been sent."""
        if self.events is None or self.client.write_paused:
            return False
        return not self.client.transport.get_write_buffer_size() and self.events.has_passed()

    def ends_with_connection(self) -> bool:
        """Return whether only the end of the connection ends the answer that has begun."""
        return self.remaining == NO_LENGTH and not self.writes_chunks

    def wait_for_answer(self) -> None:
        """Begin the time for the answer's first byte, or its next one, anew."""
        now = self.client.loop.time()
        if self.answer_begun:
            self.deadline = now + self.idle_seconds
        elif self.pool is not None:
            self.deadline = now + self.pool.upstream.timeouts.first_byte_seconds
