"""A tunnel whose end the gateway may decide: after a time, when nothing passes, at the drain.

It follows the frames both ways, so that it can end the conversation properly: a Close frame to each
side, between two frames, and an answer waited for within a bound. The times are looked at by the
one sweep.
Source: RFC 6455 5.5.1, 7.1.1 and 7.1.2 (closing), 5.3 (masking); docs/semantics.md.
"""

import asyncio
import os

from gateway.config.snapshot import TunnelRules
from gateway.http.frames import UNBOUNDED, CloseCode, FrameReader, close_frame
from gateway.proxy.flow import Reading
from gateway.proxy.tunnel import CLOSE_SECONDS, NEVER, Tunnel, Tunnels
from gateway.proxy.upstream import UpstreamConnection
from gateway.telemetry.metrics import WorkerStats


class LimitedTunnel(Tunnel):
    """A tunnel under its route's rules."""

    __slots__ = (
        "_closes_at", "_down", "_ends_at", "_idle_seconds", "_is_client_lost", "_place", "_stats",
        "_touched_at", "_up",
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
        super().__init__(client, client_reading, upstream, loop, tunnels, rules.half_close_seconds)
        self._stats = stats
        self._place = place
        self._up = FrameReader()
        self._down = FrameReader()
        self._touched_at = loop.time()
        self._idle_seconds = rules.idle_seconds or NEVER
        self._ends_at = self._touched_at + (rules.duration_seconds or NEVER)
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

    def client_closed(self) -> bool:
        """Pass the client's FIN on, or end what is left of both; return whether it is kept."""
        return not self._closes_at and super().client_closed()

    def upstream_closed(self) -> bool:
        """Do the same for the upstream."""
        return not self._closes_at and super().upstream_closed()

    def client_lost(self) -> None:
        """The client's connection is gone; what the upstream takes from now on has its bound."""
        self._is_client_lost = True
        self._tunnels.leave(self._place)
        self._stop_passing()
        if not self._closes_at:
            self._set_end()
            self._half_closed_until = NEVER
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
        can_tell_client = self._may_tell(self._down) and not self._has_ended_client
        can_tell_upstream = self._may_tell(self._up) and not self._has_ended_upstream
        self._half_closed_until = NEVER
        self._set_end()
        self._stop_passing()
        for reason in ("tunnel", "meter"):  # to see their answers
            self._client_reading.resume(reason)
            self._upstream.reading.resume(reason)
        if can_tell_client and not self._client.is_closing():
            self._client.write(close_frame(code, why.encode()))
        if not can_tell_client or self._up.saw_close or self._client_has_ended:
            self._client.close()
        if can_tell_upstream and not self._upstream.is_closed:
            self._upstream.transport.write(close_frame(code, why.encode(), os.urandom(4)))
        if not can_tell_upstream or self._down.saw_close or self._upstream_has_ended:
            self._end_upstream()

    def _may_tell(self, frames: FrameReader) -> bool:
        return frames.is_between_frames and not frames.saw_close

    def cut(self) -> None:
        """End both sides at once."""
        self._set_end()
        self.due_at = NEVER
        self._stop_passing()
        super().cut()

    def time_is_up(self, now: float) -> None:
        """See what is due (called by the sweep at ``due_at``)."""
        if self._closes_at:
            if self._closes_at <= now:
                self.cut()
        elif self._ends_at <= now:
            self.end(CloseCode.GOING_AWAY, "duration")
        elif self._half_closed_until <= now:
            self.end(CloseCode.GOING_AWAY, "half_close")
        elif self._touched_at + self._idle_seconds <= now:
            self.end(CloseCode.GOING_AWAY, "idle")
        else:
            self.due_at = self._next_due()

    def _next_due(self) -> float:
        idle_at = self._touched_at + self._idle_seconds
        return min(self._ends_at, idle_at, self._half_closed_until)

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
