"""A tunnel whose end the gateway may decide: after a time, when nothing passes, at the drain.

It follows the frames both ways, so that it can end the conversation properly: a Close frame to each
side, between two frames, and an answer waited for within a bound. The times are looked at by the
one sweep.
Source: RFC 6455 5.5.1, 7.1.1 and 7.1.2 (closing), 5.3 (masking); docs/semantics.md.
"""

import asyncio
import os
from typing import Final

from gateway.config.snapshot import TunnelRules
from gateway.http.frames import UNBOUNDED, CloseCode, FrameReader, close_frame
from gateway.proxy.admission import Addresses
from gateway.proxy.flow import Reading
from gateway.proxy.tunnel import Tunnel
from gateway.proxy.upstream import UpstreamConnection
from gateway.telemetry.metrics import WorkerStats

CLOSE_SECONDS: Final = 3.0
"""Both sides have so long to take and answer a Close; then they are cut off."""
_NEVER: Final = float("inf")


class Tunnels:
    """The limited tunnels of a worker, and the places that were given away.

    Attributes:
        open: Those of which a connection is open or a charge under way.
    """

    __slots__ = ("_places", "open")

    def __init__(self) -> None:
        self.open: set[LimitedTunnel] = set()
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


class LimitedTunnel(Tunnel):
    """A tunnel under its route's rules.

    Attributes:
        due_at: When the sweep must look at it, by the loop's time.
    """

    __slots__ = (
        "_closes_at", "_down", "_ends_at", "_idle_seconds", "_is_client_lost", "_loop", "_place",
        "_stats", "_touched_at", "_tunnels", "_up", "due_at",
    )  # fmt: skip

    def __init__(
        self,
        client: asyncio.Transport,
        client_reading: Reading,
        upstream: UpstreamConnection,
        rules: TunnelRules,
        loop: asyncio.AbstractEventLoop,
        tunnels: Tunnels,
        stats: WorkerStats,
        place: str,
    ) -> None:
        super().__init__(client, client_reading, upstream)
        self._loop = loop
        self._tunnels = tunnels
        self._stats = stats
        self._place = place
        self._up = FrameReader()
        self._down = FrameReader()
        self._touched_at = loop.time()
        self._idle_seconds = rules.idle_seconds or _NEVER
        self._ends_at = self._touched_at + (rules.duration_seconds or _NEVER)
        self._closes_at = 0.0
        self._is_client_lost = False
        self.due_at = self._next_due()
        tunnels.open.add(self)

    # What passes

    def from_client(self, data: bytes) -> None:
        """Pass on what the client sent; once the end was said, look for its answer alone."""
        if not self._closes_at:
            self._touched_at = self._loop.time()
            self._pass_up(data)
            return
        self._up.read(data, 0, len(data), UNBOUNDED)
        if self._up.saw_close and self._up.is_between_frames:
            self._client.close()

    def from_upstream(self, data: bytes) -> None:
        """Do the same for the upstream; nothing means that it has ended."""
        if not data:
            if not self._closes_at:
                self._upstream_ended()
            self._forget_if_over()
        elif not self._closes_at:
            self._touched_at = self._loop.time()
            self._pass_down(data)
        else:
            self._down.read(data, 0, len(data), UNBOUNDED)
            if self._down.saw_close and self._down.is_between_frames:
                self._end_upstream()

    def _pass_up(self, data: bytes) -> None:
        self._up.read(data, 0, len(data), UNBOUNDED)
        self.to_upstream(data)

    def _pass_down(self, data: bytes) -> None:
        self._down.read(data, 0, len(data), UNBOUNDED)
        self.to_client(data)

    # The end

    def client_closed(self) -> None:
        """The client sends no more: end the upstream's side, or what is left of both."""
        if self._closes_at:
            self._client.close()
        else:
            self._end_upstream()

    def _end_upstream(self) -> None:
        """End the upstream's side, with what was still to be sent."""
        if not self._upstream.is_closed:
            self._upstream.transport.close()

    def client_lost(self) -> None:
        """The client's connection is gone; what the upstream takes from now on has its bound."""
        self._is_client_lost = True
        self._tunnels.leave(self._place)
        self._stop_passing()
        if not self._closes_at:
            self._set_end()
            self._end_upstream()
        self._forget_if_over()

    def go_away(self, seconds: float) -> None:
        """Send both sides a Close; they have so many seconds to answer it."""
        if not self._closes_at:
            self.end(CloseCode.GOING_AWAY, "drain")
            self._closes_at = self.due_at = self._loop.time() + seconds

    def end(self, code: CloseCode, why: str) -> None:
        """Tell both sides why it ends, and close within a bound.

        A side that stands within a frame can't be told: it is closed with what it got so far.
        """
        if self._closes_at:
            return
        ended = self._stats.tunnels_ended
        ended[why] = ended.get(why, 0) + 1
        can_tell_client = self._down.is_between_frames and not self._down.saw_close
        can_tell_upstream = self._up.is_between_frames and not self._up.saw_close
        self._set_end()
        self._stop_passing()
        for reason in ("tunnel", "meter"):  # to see their answers
            self._client_reading.resume(reason)
            self._upstream.reading.resume(reason)
        if can_tell_client and not self._client.is_closing():
            self._client.write(close_frame(code, why.encode()))
        if not can_tell_client or self._up.saw_close:
            self._client.close()
        if can_tell_upstream and not self._upstream.is_closed:
            self._upstream.transport.write(close_frame(code, why.encode(), os.urandom(4)))
        if not can_tell_upstream or self._down.saw_close:
            self._end_upstream()

    def cut(self) -> None:
        """End both sides at once."""
        self._set_end()
        self.due_at = _NEVER
        self._stop_passing()
        super().cut()

    def time_is_up(self, now: float) -> None:
        """See what is due (called by the sweep at ``due_at``)."""
        if self._closes_at:
            if self._closes_at <= now:
                self.cut()
        elif self._ends_at <= now:
            self.end(CloseCode.GOING_AWAY, "duration")
        elif self._touched_at + self._idle_seconds <= now:
            self.end(CloseCode.GOING_AWAY, "idle")
        else:
            self.due_at = self._next_due()

    def _next_due(self) -> float:
        return min(self._ends_at, self._touched_at + self._idle_seconds)

    def _set_end(self) -> None:
        if not self._closes_at:
            self._closes_at = self.due_at = self._loop.time() + CLOSE_SECONDS

    def _upstream_ended(self) -> None:
        self._client.close()

    def _stop_passing(self) -> None:
        """Nothing passes from now on; may be called again."""

    def _is_over(self) -> bool:
        return self._is_client_lost and self._upstream.is_closed

    def _forget_if_over(self) -> None:
        if self._is_over():
            self._tunnels.open.discard(self)
