"""The client side of a connection: parses heads and bodies, one story after the other.

Stories are told in order, one at a time, so that pipelined answers can't overtake each other. What
goes wrong before there is a request ends here.
Source: RFC 9112 2.2, 9.3; design sections 3 (step 1), 4 and 10.
"""

import asyncio
from typing import Final

from gateway.clock import stopwatch_ns
from gateway.config.snapshot import HALF_CLOSE_SECONDS, ClientLimits
from gateway.errors import Refusal
from gateway.http.chunks import Trailers
from gateway.http.forwarding import ClientOrigin, origin_lines
from gateway.http.origins import address_of
from gateway.proxy.departures import has_departed
from gateway.proxy.exchange import Exchange
from gateway.proxy.flow import WRITE_HIGH_WATER_BYTES, Reading
from gateway.proxy.head import read_head
from gateway.proxy.incoming import IncomingHead
from gateway.proxy.incoming_body import IncomingBody
from gateway.proxy.leaving import client_left
from gateway.proxy.origins import Peer
from gateway.proxy.parting import DROPPED, LINGER_SECONDS, PartingClient
from gateway.proxy.ports import Ports
from gateway.proxy.repetition import repeat, same_as
from gateway.proxy.request import serve
from gateway.proxy.tunnel import Opening, Tunnel
from gateway.proxy.upstream import UpstreamConnection
from gateway.story import Story

TUNNEL_BUFFER_BYTES_MAX: Final = 64 * 1024
"""What a client may send behind an upgrade's head before the upstream agreed."""

_NEW_PROTOCOL: Final = b"+"
"""Before early bytes: they come behind an upgrade's head."""


class ClientConnection(PartingClient):
    """One client; lives as long as its transport."""

    __slots__ = (
        "_head", "_is_counted", "_origin", "_origin_lines", "_peer", "_scheme", "_time",
    )  # fmt: skip

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self._time = ports.loop.time  # looked up once
        self._head = IncomingHead()
        self._origin_lines: tuple[ClientOrigin, bytes, bytes, bytes] | None = None
        self._is_counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's class is not a subclass
        worker = self._ports.stats.worker
        worker.connections_accepted += 1
        connections = self._ports.connections
        self.touched_at = self.loop.time()
        self._scheme = b"https" if transport.get_extra_info("ssl_object") else b"http"
        self._peer = Peer(address_of(transport.get_extra_info("peername")), self._scheme)
        self._origin = self._peer.origin
        limits = self._ports.active.snapshot.limits
        clients_max = min(limits.connections_max, self._ports.clients_max)
        if len(connections) >= clients_max or not self._has_room(limits):
            worker.connections_refused += 1
            self.is_lost = True
            self.transport.abort()
            return
        connections.add(self)
        self.reading = Reading(self.transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)

    def _has_room(self, limits: ClientLimits) -> bool:
        """Count the connection under its address; return whether there is room for it."""
        bound = limits.connections_per_address_max
        if not bound or self._peer.is_trusted(self._ports.active.snapshot.trusted_proxies):
            return True
        self._is_counted = self._ports.addresses.enter(self._origin.group, bound)
        return self._is_counted

    def data_received(self, data: bytes) -> None:
        self.touched_at = self._time()
        if self._tunnel is not None:
            self._tunnel.from_client(data)
            return
        if self._early:
            self._keep_early(data)
            return
        if self.refused is not None and self._is_told_again(data):
            return
        self._read(data)
        if self._next is not None:
            self._tell(self._next)
        elif self._receiving is not None and self._receiving.reads_body:
            self._receiving.resume()

    def eof_received(self) -> bool:
        """See whether the client has left; return whether the connection is kept."""
        self.had_eof = True
        if self._tunnel is not None:
            # Over TLS the connection ends with this.
            return self._scheme != b"https" and self._tunnel.client_closed()
        if self._parting is not None:
            return self._scheme != b"https"
        if not self._answers_half_closed():
            is_kept = self._lose_client()
            return is_kept and self._scheme != b"https"
        receiving = self._receiving
        if receiving is not None and receiving in self._queue:
            self._receiving = None
            self._queue.remove(receiving)  # it never came whole; what was asked before it did
        elif receiving is not None:
            return self._lose_client()
        return self._is_busy()

    def _answers_half_closed(self) -> bool:
        """Return whether a client may close its side and still be answered; never over TLS."""
        return self._scheme != b"https" and self._ports.active.snapshot.limits.answers_half_closed

    def _lose_client(self) -> bool:
        """The client has left: what is under way has lost it, what waits is dropped.

        Returns:
            Whether the connection is kept: for an answer whose record waits for the disk.
        """
        self.had_eof = True
        self._early = DROPPED
        self._rest = b""
        self._queue.clear()
        self._next = self._receiving = self._body = None
        current = self._current
        if current is None:
            return False
        if current not in self._ports.exchanges:
            return True
        self._current = None
        current.keep_alive = False
        client_left(current)
        return False

    def may_leave_unseen(self) -> bool:
        """Return whether a request or tunnel is under way on a client that is not read from."""
        if not self.reading.is_paused or self.transport.is_closing():
            return False
        return self._tunnel is not None or self._current in self._ports.exchanges

    def left_unseen(self, *, by_reset: bool) -> None:
        """Learn that the client has left, of which only the kernel knew."""
        if self._tunnel is not None:
            if by_reset:  # what came before a FIN is still to be read
                self.transport.abort()
        elif (by_reset or not self._answers_half_closed()) and not self._lose_client():
            self.transport.close()

    def has_departed(self) -> bool:
        """Return whether the client has left unnoticed; asks the kernel."""
        return has_departed(self.transport, by_fin=not self._answers_half_closed())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it
        if self.is_lost:
            return
        self.is_lost = True
        self._head.end()
        self._ports.connections.discard(self)
        if self._is_counted:
            self._is_counted = False
            self._ports.addresses.leave(self._origin.group)
        if self._tunnel is not None:
            self._ports.stats.worker.tunnels_open -= 1
            self._tunnel.client_lost()
        if self._current is not None:
            client_left(self._current)
        self._queue.clear()
        self._tunnel = self._next = self._receiving = self.refused = None

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._tunnel is not None:
            self._tunnel.client_paused()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._tunnel is not None:
            self._tunnel.client_resumed()
        elif self._current is None:
            self._go_on()
        elif self._current.upstream is not None:
            self._current.upstream.reading.resume("client")

    def _tell(self, exchange: Exchange) -> None:
        """Begin the story of a request."""
        self._next = None
        self._current = exchange
        exchange.story = story = Story(serve(exchange, self._ports), self)
        story.resume()

    def _is_told_again(self, data: bytes) -> bool:
        """Refuse what was refused before and comes again; return whether it is that."""
        is_at_rest = self._is_free() and self._receiving is None and self._head.is_at_rest()
        known = same_as(self.refused, data) if is_at_rest else None
        if known is None:
            return False
        exchange = self._current = Exchange(self)
        if repeat(known, exchange, self._ports):
            return True
        self._current = None
        return False

    def story_failed(self, error: BaseException) -> None:
        """A story's bug must not take the worker with it."""
        self._ports.story_failed(error)
        self.transport.abort()

    def exchange_finished(self, exchange: Exchange) -> None:
        """The last bytes of an answer are on their way: go on, linger, or close."""
        if self._current is exchange:
            self._current = None
        if self.is_lost or self._parting is not None or self.transport.is_closing():
            return
        if exchange.has_body:
            self.reading.resume("body")
        if self.had_eof and not self._has_more():
            self.transport.close()
        elif (exchange.has_body and not exchange.body_complete) or exchange.lingers:
            self._linger(exchange)
        elif not exchange.keep_alive and self._early == DROPPED:
            self.transport.close()  # the client asked for it, and sends nothing more
        elif not exchange.keep_alive:
            self._say_goodbye(LINGER_SECONDS)
        elif self._queue:
            self._go_on()
        elif self._ports.is_draining:
            self.touched_at = self._time()  # its client was not told: there may be one more request

    def _is_free(self) -> bool:
        """Return whether the next request can begin: none is told, and the client reads."""
        return not (self._is_busy() or self.write_paused)

    def _go_on(self) -> None:
        """Begin the next request that waits, unless the client leaves its answers unread."""
        if self._queue and self._next is None and not self.write_paused:
            self._next = self._queue.popleft()
            self._ports.loop.call_soon(self._tell_next)

    def _tell_next(self) -> None:
        if self._next is None or self.is_lost or self.transport.is_closing():
            return
        if len(self._queue) <= self._pipelined_max() // 2:
            self.reading.resume("pipeline")
            if self._rest:
                self._read(b"")
        self._tell(self._next)

    def start_tunnel(self, upstream: UpstreamConnection, opening: Opening | None) -> None:
        """Join both sides after a 101."""
        self._ports.stats.worker.tunnels_open += 1
        self._tunnel = tunnel = (
            Tunnel(
                self.transport,
                self.reading,
                upstream,
                self.loop,
                self._ports.tunnels,
                HALF_CLOSE_SECONDS,
            )
            if opening is None
            else opening.tunnel(self.transport, self.reading, upstream)
        )
        self._current = None
        early, self._early = self._early, b""
        tunnel.begin(upstream.leftover(), early[1:])
        if self.had_eof and not tunnel.client_closed():
            self.transport.close()
        if self._ports.drain_ends_at:
            self.go_away(self._ports.drain_ends_at - self._time())

    def cut(self) -> None:
        """Close at once: the worker stops."""
        if self._tunnel is not None:
            self._tunnel.cut()
        if self._current is not None and not self._current.client_gone:
            self._current.is_cut_off = True
        self.transport.abort()

    def date_line(self) -> bytes:
        """Return the ``Date`` line of answers that the gateway writes itself."""
        return self._ports.date_line

    def origin_lines(self, origin: ClientOrigin, host: bytes, via: bytes) -> bytes:
        """Return ``origin_lines``; most requests of a connection name the same host."""
        known = self._origin_lines
        if known is None or known[0] is not origin or known[1] != host or known[2] != via:
            known = self._origin_lines = (origin, host, via, origin_lines(origin, host, via))
        return known[3]

    def _read(self, data: bytes) -> None:
        """Read heads and bodies out of what has come; further requests wait while many do."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, end = 0, len(data)
        while at < end and not self._early:
            if self._receiving is not None:
                at = self._read_body(data, at)
            elif self._queue and len(self._queue) >= self._pipelined_max():
                self._rest = data[at:]
                return
            else:
                at = self._read_head(data, at)
        if self._early == _NEW_PROTOCOL and at < end:
            self._early += data[at:]

    def _read_head(self, data: bytes, at: int) -> int:
        try:
            stop = self._head.feed(data, at, self._ports.active)
        except Refusal as refusal:
            self._refuse_rest(refusal)
            return len(data)
        if stop < 0:
            if not self._head_since and self._head.has_begun:
                self._head_since = self.touched_at
            return len(data)
        is_alone = at == 0 and stop == len(data) and self._head.was_plain
        self._begin(data if is_alone else b"")
        return stop

    def _begin(self, whole_head: bytes) -> None:
        """A head is whole: begin its request."""
        ports, head = self._ports, self._head
        exchange = Exchange(self)
        exchange.started_ns = started_ns = stopwatch_ns()
        exchange.event_id = ports.event_ids.new(started_ns)
        exchange.method = head.method
        exchange.http_minor = head.http_minor
        exchange.keep_alive = head.keep_alive
        exchange.fields = head.fields
        exchange.special = special = head.special
        exchange.special_names = head.special_names
        exchange.whole_head = whole_head
        self._head_since = 0.0
        snapshot = ports.active.snapshot
        proxies = snapshot.trusted_proxies
        exchange.origin = (
            self._peer.origin_of(special, proxies, ports.stats.worker) if proxies else self._origin
        )
        read_head(exchange, head.target, snapshot)
        if exchange.has_body:
            head.body_follows()
            self._receiving = exchange
            self._body = IncomingBody(exchange, snapshot.limits)
        else:
            exchange.body_end([])
            self._go_on_behind(exchange)
        self._take(exchange)

    def _pipelined_max(self) -> int:
        return self._ports.active.snapshot.limits.pipelined_max

    def _read_body(self, data: bytes, at: int) -> int:
        receiving, body = self._receiving, self._body
        assert receiving is not None
        assert body is not None
        at = body.feed(receiving, data, at)
        if body.is_complete:
            self._body_ends(receiving, body.trailers)
        elif body.refusal is not None and not self.closes_at:
            self._refuse_rest(body.refusal)
        return at

    def _body_ends(self, exchange: Exchange, trailers: Trailers) -> None:
        self._receiving = self._body = None
        self._go_on_behind(exchange)
        exchange.body_end(trailers)
        if self.closes_at:
            self._early = DROPPED
            self.transport.close()

    def _go_on_behind(self, exchange: Exchange) -> None:
        """Say what follows a message: the next one, another protocol, or nothing to look at."""
        if exchange.wants_upgrade:
            self._early = _NEW_PROTOCOL
        elif not exchange.keep_alive:
            self._early = DROPPED

    def _take(self, exchange: Exchange) -> None:
        """Begin the story of a request now, or when those before it have been told."""
        if self._is_free():
            self._next = exchange
            return
        self._queue.append(exchange)
        if len(self._queue) >= self._pipelined_max():
            self.reading.pause("pipeline")

    def _keep_early(self, data: bytes) -> None:
        if self._early == DROPPED:
            return
        self._early += data
        if len(self._early) > TUNNEL_BUFFER_BYTES_MAX:
            self.transport.abort()

    def _refuse_rest(self, refusal: Refusal) -> None:
        """Refuse the request that is coming in; nothing behind it is looked at."""
        self._early = DROPPED
        self._head_since = 0.0
        self.reading.pause("malformed")
        receiving = self._receiving
        if receiving is not None and not receiving.body_complete:
            receiving.refusal = refusal
            receiving.keep_alive = False
            if receiving.upstream is not None:
                receiving.upstream.fail("refused")
            receiving.resume()
            return
        exchange = Exchange(self)
        exchange.started_ns = started_ns = stopwatch_ns()
        exchange.event_id = exchange.request_id = self._ports.event_ids.new(started_ns)
        exchange.is_malformed = exchange.lingers = exchange.body_complete = True
        exchange.keep_alive = False
        exchange.origin, exchange.refusal = self._origin, refusal
        self._take(exchange)
