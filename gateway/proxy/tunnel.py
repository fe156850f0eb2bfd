"""An upgraded connection: bytes pass both ways until one side ends it.

A side that closes its own direction may still read: its FIN is passed on, and the other direction
is kept for a while. Over TLS no side can close its direction alone.
Source: RFC 9110 7.8 (Upgrade), RFC 6455 1.3 (WebSocket handshake), RFC 9293 3.6 (half-close);
requirement X1.
"""

import asyncio
from abc import abstractmethod
from typing import Final

from gateway.http.frames import CloseCode
from gateway.proxy.admission import Addresses
from gateway.proxy.flow import Reading
from gateway.proxy.upstream import UpstreamConnection

CLOSE_SECONDS: Final = 3.0
"""Both sides have so long to take what is left, and a Close to answer; then they are cut off."""
NEVER: Final = float("inf")


class Tunnels:
    """The tunnels of a worker that time has to look at, and the places that were given away.

    Attributes:
        open: Those that their routes limit, of which a connection is open or a charge under way;
            others while one side has closed its direction.
    """

    __slots__ = ("_places", "open")

    def __init__(self) -> None:
        self.open: set[Tunnel] = set()
        self._places = Addresses()

    def enter(self, place: str, bound: int) -> bool:
        """Take a place among ``bound`` of that name; return whether there was one."""
        return self._places.enter(place, bound)

    def leave(self, place: str) -> None:
        """Give a place back; an empty name is none."""
        if place:
            self._places.leave(place)

    def taken(self, place: str) -> int:
        """Return how many places of that name are taken."""
        return self._places.counts.get(place, 0)


class Tunnel:
    """Joins a client's transport and an upstream connection after a 101.

    Attributes:
        due_at: When the sweep must look at it, by the loop's time.
    """

    __slots__ = (
        "_client", "_client_has_ended", "_client_reading", "_half_close_seconds",
        "_half_closed_until", "_has_ended_client", "_has_ended_upstream", "_loop", "_tunnels",
        "_upstream", "_upstream_has_ended", "bytes_in", "bytes_out", "due_at",
    )  # fmt: skip

    def __init__(
        self,
        client: asyncio.Transport,
        client_reading: Reading,
        upstream: UpstreamConnection,
        loop: asyncio.AbstractEventLoop,
        tunnels: Tunnels,
        half_close_seconds: float,
    ) -> None:
        self._client = client
        self._client_reading = client_reading
        self._upstream = upstream
        self._loop = loop
        self._tunnels = tunnels
        self._half_close_seconds = half_close_seconds
        self._half_closed_until = NEVER
        self._client_has_ended = self._upstream_has_ended = False
        self._has_ended_client = self._has_ended_upstream = False
        self.due_at = NEVER
        self.bytes_in = 0
        self.bytes_out = 0
        upstream.tunnel = self.from_upstream
        upstream.tunnel_half_closed = self.upstream_closed
        upstream.write_resumed = self._upstream_resumed

    def begin(self, from_upstream: bytes, from_client: bytes) -> None:
        """Pass on what came behind the heads, and from now on what follows."""
        if from_upstream:
            self.from_upstream(from_upstream)
        if from_client:
            self.from_client(from_client)
        self._upstream.reading.resume("upgrade")

    def from_client(self, data: bytes) -> None:
        """Pass on what the client sent."""
        self.to_upstream(data)

    def from_upstream(self, data: bytes) -> None:
        """Pass on what the upstream sent; nothing means that it has ended."""
        if data:
            self.to_client(data)
        else:
            self._client.close()

    def to_upstream(self, data: bytes | memoryview) -> None:
        """Send something to the upstream; one that is slow is not sent more."""
        self.bytes_in += len(data)
        if self._upstream.is_closed:
            return
        self._upstream.transport.write(data)
        if self._upstream.write_paused:
            self._client_reading.pause("tunnel")

    def to_client(self, data: bytes | memoryview) -> None:
        """Send something to the client."""
        self.bytes_out += len(data)
        if not self._client.is_closing():
            self._client.write(data)

    def client_paused(self) -> None:
        """Stop reading from the upstream: the client is slow."""
        self._upstream.reading.pause("tunnel")

    def client_resumed(self) -> None:
        """Read from the upstream again."""
        self._upstream.reading.resume("tunnel")

    # The end

    def client_closed(self) -> bool:
        """Pass the client's FIN on, behind what it sent; return whether its connection is kept."""
        self._client_has_ended = True
        if self._upstream.is_closed:
            return False
        if self._is_half_closed() or not self._may_half_close(self._upstream.transport):
            self._half_closed_until = NEVER
        else:
            self._begin_half_close()
        self._end_upstream()
        return True

    def upstream_closed(self) -> bool:
        """Pass the upstream's FIN on likewise; return whether its connection is kept."""
        if self._client_has_ended or self._client.is_closing():
            return False
        if not self._may_half_close(self._client):
            return False
        self._upstream_has_ended = True
        self._begin_half_close()
        self._end_client()
        return True

    def _may_half_close(self, other: asyncio.Transport) -> bool:
        return self._half_close_seconds > 0 and other.can_write_eof()

    def _begin_half_close(self) -> None:
        self._half_closed_until = self._loop.time() + self._half_close_seconds
        self.due_at = min(self.due_at, self._half_closed_until)
        self._tunnels.open.add(self)

    def _is_half_closed(self) -> bool:
        return self._half_closed_until < NEVER

    def _end_upstream(self) -> None:
        """End what goes to the upstream, with what was still to be sent: its side, or all of it."""
        if self._upstream.is_closed:
            return
        if not self._is_half_closed():
            self._upstream.transport.close()
        elif not self._has_ended_upstream:
            self._has_ended_upstream = True
            self._upstream.transport.write_eof()

    def _end_client(self) -> None:
        """End what goes to the client likewise."""
        if self._client.is_closing():
            return
        if not self._is_half_closed():
            self._client.close()
        elif not self._has_ended_client:
            self._has_ended_client = True
            self._client.write_eof()

    def client_lost(self) -> None:
        """The client's connection is gone: end the upstream's."""
        self._half_closed_until = NEVER
        self._end_upstream()
        self._tunnels.open.discard(self)

    def go_away(self, seconds: float) -> None:
        """Pass bytes until the worker stops in so many seconds, as no Close can be sent."""

    def end(self, code: CloseCode, why: str) -> None:  # noqa: ARG002 - of tunnels that know frames
        """End both sides, with what was still to be sent."""
        self._half_closed_until = NEVER
        self._end_client()
        self._end_upstream()

    def time_is_up(self, now: float) -> None:
        """End a tunnel of which one direction was kept long enough (called at ``due_at``)."""
        if self._is_half_closed():
            self.end(CloseCode.GOING_AWAY, "half_close")
            self.due_at = now + CLOSE_SECONDS
        else:
            self.due_at = NEVER
            self.cut()

    def cut(self) -> None:
        """End both sides at once."""
        self._client.abort()
        self._upstream.abort()

    def _upstream_resumed(self) -> None:
        self._client_reading.resume("tunnel")


class Opening:
    """A tunnel that its route limits, before it begins: it has a place, and may never use it."""

    @abstractmethod
    def tunnel(
        self, client: asyncio.Transport, client_reading: Reading, upstream: UpstreamConnection
    ) -> Tunnel:
        """Return the tunnel."""
        raise NotImplementedError

    @abstractmethod
    def abandon(self) -> None:
        """Leave the place: there is no tunnel after all."""
        raise NotImplementedError
