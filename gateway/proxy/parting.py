"""How the connection of a client ends: what it was sent arrives, and nothing is reset by accident.

Closing while something is unread, or before everything has left, is a reset, and the client may
lose its answer by it. So this side closes first and drops what still comes for a moment; and an
answer that its upstream broke off is cut only after what came of it has been delivered.
Source: RFC 9112 8 (incomplete messages), 9.6 (tear-down); docs/semantics.md.
"""

import asyncio
from collections import deque
from typing import Final

from gateway.http.frames import CloseCode
from gateway.proxy.client_times import TimedClient
from gateway.proxy.exchange import Exchange
from gateway.proxy.flow import reset, undelivered_bytes
from gateway.proxy.incoming_body import IncomingBody
from gateway.proxy.ports import Ports

LINGER_BYTES_MAX: Final = 256 * 1024
"""Unread body that is taken and dropped after an early answer, so that the client can read it."""
LINGER_SECONDS: Final = 2.0
IDLE_LINGER_SECONDS: Final = 0.5
"""At the drain, for a request that was on its way; and before, for the next one to come."""
DROPPED: Final = b"-"
"""In the place of early bytes: what comes is not looked at any more."""
_HELD_BACK: Final = ("malformed", "upstream", "pipeline")
"""Why a connection may not be read from that now is read empty."""

LOOK_SECONDS: Final = 0.02
"""Until the second look; each pause is twice the one before: when an upstream dies, all its clients
may part at once."""
LOOK_SECONDS_MAX: Final = 0.25
STALLED_SECONDS: Final = 10.0
"""A client that takes nothing for so long is cut off."""
PARTING_SECONDS: Final = 60.0
"""So is one that takes its bytes one by one: what waits for it is memory."""


class Parting:
    """Ends a connection once everything was delivered."""

    __slots__ = (
        "_by_reset", "_ends_at", "_loop", "_moved_at", "_pause_seconds", "_transport",
        "_undelivered_bytes",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, *, by_reset: bool
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._by_reset = by_reset
        self._moved_at = loop.time()
        self._ends_at = self._moved_at + PARTING_SECONDS
        self._undelivered_bytes = -1
        self._pause_seconds = LOOK_SECONDS

    def look(self) -> None:
        """End the connection if all was delivered, otherwise look again soon."""
        transport = self._transport
        if transport.is_closing():
            return
        now, undelivered_bytes_now = self._loop.time(), undelivered_bytes(transport)
        if undelivered_bytes_now != self._undelivered_bytes:
            self._undelivered_bytes = undelivered_bytes_now
            self._moved_at = now
        if not undelivered_bytes_now and not self._by_reset:
            transport.abort()
        elif (
            not undelivered_bytes_now
            or now >= self._ends_at
            or now - self._moved_at >= STALLED_SECONDS
        ):
            reset(transport)
        else:
            self._loop.call_later(self._pause_seconds, self.look)
            self._pause_seconds = min(2 * self._pause_seconds, LOOK_SECONDS_MAX)


class PartingClient(TimedClient):
    """A client connection as far as its end is concerned.

    Attributes:
        had_eof: Whether the client has closed its side.
        is_lost: Whether the connection is gone.
    """

    __slots__ = (
        "_body", "_early", "_parting", "_queue", "_rest", "had_eof", "is_lost",
    )  # fmt: skip

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self._body: IncomingBody | None = None
        self._queue: deque[Exchange] = deque()
        self._parting: Parting | None = None
        self._early = b""
        self._rest = b""
        self.is_lost = self.had_eof = False

    def is_idle_at(self, now: float) -> bool:
        """Return whether nothing is under way, nothing is on its way out, and its time is over."""
        return self._parting is None and super().is_idle_at(now)

    def _is_busy(self) -> bool:
        """Return whether a request is being served or waits for it."""
        return self._current is not None or self._next is not None or bool(self._queue)

    def _linger(self, exchange: Exchange) -> None:
        """Take what is still coming for a moment, so that the answer is not torn down.

        Closing while there is something unread would reset the connection, and the client might
        lose the answer (RFC 9112 9.6).
        """
        exchange.drop_body(LINGER_BYTES_MAX)
        exchange.keep_alive = False
        self.closes_at = self.loop.time() + LINGER_SECONDS
        if self.transport.can_write_eof():
            self.transport.write_eof()
        for reason in _HELD_BACK:
            self.reading.resume(reason)

    def _say_goodbye(self, seconds: float) -> None:
        """Close this side first, and drop what still comes for a moment instead of resetting it.

        Requests behind the last answer are dropped. Over TLS the transport does the same by itself.
        """
        self._queue.clear()
        self._rest, self._early = b"", DROPPED
        self.closes_at = self.loop.time() + seconds
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        for reason in _HELD_BACK:
            self.reading.resume(reason)

    def break_off(self, *, by_reset: bool) -> None:
        """End the connection in the middle of an answer, once what came of it has arrived."""
        if self.is_lost or self._parting is not None:
            return
        self._receiving = self._body = None
        self._rest, self._early = b"", DROPPED
        self._parting = Parting(self.loop, self.transport, by_reset=by_reset)
        self._parting.look()

    def is_ending(self) -> bool:
        """Return whether an answer that begins now is the last: the worker or the client ends."""
        return self._ports.is_draining or (self.had_eof and not self._has_more())

    def _has_more(self) -> bool:
        """Return whether the client sent more behind the request that is being answered."""
        return bool(self._queue or self._rest)

    def go_away(self, seconds: float) -> None:
        """Say that the worker stops within so many seconds, if this is a tunnel."""
        if self._tunnel is not None:
            self._tunnel.go_away(seconds)

    def end_tunnel(self) -> None:
        """End a tunnel, if this is one: the drain is over."""
        if self._tunnel is not None:
            self._tunnel.end(CloseCode.GOING_AWAY, "drain")

    def leave(self, now: float) -> bool:
        """Close if nothing is under way (at the drain); return whether there is to be waited."""
        if self._is_busy() or self._parting is not None:
            return True
        if self._tunnel is not None or self.closes_at or self.transport.is_closing():
            return now < self.closes_at or self.transport.get_write_buffer_size() > 0
        if now - self.touched_at >= IDLE_LINGER_SECONDS:
            self._say_goodbye(IDLE_LINGER_SECONDS)
        return True
