"""A tunnel of which every message, byte or second is reserved before it passes.

What goes beyond the slice in hand waits here, its sender is not read from, and the next slice is
asked for; refused, the tunnel ends. So no limit is ever overrun, whoever else charges it meanwhile.
Source: docs/semantics.md; RFC 6455 5.4 (messages); requirements A4, N1.
"""

import asyncio
from collections import deque
from typing import Final

import structlog

from gateway.config.snapshot import TunnelRules, TunnelUnit
from gateway.errors import Refusal, RefusalCode
from gateway.http.frames import UNBOUNDED, CloseCode, FrameReader
from gateway.proxy.books import Draft
from gateway.proxy.flow import Reading
from gateway.proxy.limited_tunnel import LimitedTunnel
from gateway.proxy.ports import Ports
from gateway.proxy.slices import Slices
from gateway.proxy.tunnel import Tunnels
from gateway.proxy.upstream import UpstreamConnection
from gateway.rules.charging import usable_until_micro
from gateway.rules.units import MICRO
from gateway.story import FailureCall, Story, pause

_log = structlog.get_logger("proxy")

_NEVER: Final = float("inf")
_AWAY: Final = (
    RefusalCode.STORE_UNAVAILABLE,
    RefusalCode.DIRECTORY_UNAVAILABLE,
    RefusalCode.RECORDING_UNAVAILABLE,
)
"""Refusals that are no limit of the caller's: it may come again."""


def _usable_seconds(draft: Draft) -> float:
    """Return for how long a slice may be used: what comes later counts in another window."""
    charge, counts = draft.charge, draft.counts
    if charge is None or counts is None:
        return _NEVER
    return (usable_until_micro(charge) - counts.now_micro) / MICRO


class Way:
    """One direction, and what waits in it for a slice.

    Attributes:
        at: How much of the first piece has passed.
        has_ended: Nothing comes after what waits.
    """

    __slots__ = ("at", "frames", "has_ended", "held", "reading")

    def __init__(self, frames: FrameReader, reading: Reading) -> None:
        self.frames = frames
        self.reading = reading
        self.held: deque[bytes] = deque()
        self.at = 0
        self.has_ended = False


class MeteredTunnel(LimitedTunnel):
    """A tunnel that is charged, slice by slice."""

    __slots__ = (
        "_by", "_downward", "_from", "_is_asking", "_is_finished", "_left", "_ports",
        "_recorded_in", "_recorded_out", "_renews_at", "_slice", "_slices", "_story", "_until",
        "_upward",
    )  # fmt: skip

    def __init__(
        self,
        client: asyncio.Transport,
        client_reading: Reading,
        upstream: UpstreamConnection,
        rules: TunnelRules,
        ports: Ports,
        tunnels: Tunnels,
        place: str,
        slices: Slices,
        by: TunnelUnit,
    ) -> None:
        self._slice: Draft | None = None
        self._until = self._renews_at = _NEVER
        super().__init__(
            client, client_reading, upstream, rules, ports.loop, tunnels, ports.stats.worker, place
        )
        self._ports = ports
        self._slices = slices
        self._by = by
        self._upward = Way(self._up, client_reading)
        self._downward = Way(self._down, upstream.reading)
        self._left = 0
        self._from = self._loop.time()
        self._recorded_in = self._recorded_out = 0
        self._story: Story | None = None
        self._is_asking = False
        self._is_finished = False

    def begin(self, from_upstream: bytes, from_client: bytes) -> None:
        """Begin; time is reserved at once, the rest when it is used."""
        if self._by is TunnelUnit.SECONDS:
            self._ask()
        super().begin(from_upstream, from_client)

    # What passes

    def _pass_up(self, data: bytes) -> None:
        self._take(self._upward, data)

    def _pass_down(self, data: bytes) -> None:
        self._take(self._downward, data)

    def _take(self, way: Way, data: bytes) -> None:
        if self._is_finished:
            return
        way.held.append(data)
        if not self._flow(way):
            way.reading.pause("meter")
            self._ask()

    def _flow(self, way: Way) -> bool:
        """Pass on what is reserved of a direction; return whether nothing is left that waits."""
        held = way.held
        while held:
            data = held[0]
            at, end = way.at, len(data)
            stop = self._reserved_until(way.frames, data, at)
            if stop > at:
                piece = data if stop - at == end else memoryview(data)[at:stop]
                if way is self._upward:
                    self.to_upstream(piece)
                else:
                    self.to_client(piece)
            if self._slice is not None and not self._left and self._by is not TunnelUnit.SECONDS:
                self._settle()
            if self._is_finished:  # the journal said at once that it does not take the slice
                return True
            if stop < end:
                way.at = stop
                return False
            held.popleft()
            way.at = 0
        return True

    def _reserved_until(self, frames: FrameReader, data: bytes, at: int) -> int:
        """Count what is in a piece from a place on; return up to where it may pass."""
        end = len(data)
        if self._until <= self._loop.time():
            self._settle()
        if self._by is TunnelUnit.MESSAGES:
            before = frames.messages
            stop = frames.read(data, at, end, self._left)
            self._left -= frames.messages - before
            return stop
        if self._by is TunnelUnit.BYTES:
            stop = min(end, at + self._left)
            self._left -= stop - at
        else:
            stop = at if self._slice is None else end
        return frames.read(data, at, stop, UNBOUNDED)

    # Slices

    def _ask(self) -> None:
        """Reserve slices for as long as something waits for one."""
        if self._is_asking or self._is_finished:
            return
        self._is_asking = True
        self._story = story = Story(self._reserve(), FailureCall(self._failed))
        story.resume()

    async def _reserve(self) -> None:
        while await self._reserve_slice():
            # One slice a turn of the loop: a flood must not stop everybody else.
            self._loop.call_soon(self._go_on)
            await pause()
            if self._is_finished:
                break
        self._is_asking = False
        self._story = None
        self._forget_if_over()

    def _go_on(self) -> None:
        if self._story is not None:
            self._story.resume()

    async def _reserve_slice(self) -> bool:
        """Reserve a slice and pass on what waited for it; return whether more is to be reserved."""
        draft = self._slices.begin()
        try:
            await self._slices.reserve(draft)
        except Refusal as refusal:
            if not self._is_finished:
                self._slices.refuse(draft, refusal)
                self._refused(refusal.code)
            return False
        if self._is_finished:
            self._slices.settle(draft, 0, 0, 0, self._unkept)
            return False
        self._slice = draft
        self._left = self._slices.ticks
        now = self._loop.time()
        self._until = now + _usable_seconds(draft)
        if self._by is TunnelUnit.SECONDS:
            self._until = min(self._until, self._from + self._slices.ticks / MICRO)
        ends_in_micro = draft.active.valid_until_micro - self._ports.clock.now_micro()
        self._renews_at = now + ends_in_micro / MICRO
        self.due_at = self._next_due()
        return not self._flow_on()

    def _flow_on(self) -> bool:
        """Pass on what waited, both ways; return whether nothing waits any more."""
        is_empty = True
        for way in (self._upward, self._downward):
            if not self._flow(way):
                is_empty = False
                continue
            way.reading.resume("meter")
            if way.has_ended and not self._is_finished:
                if way is self._upward:
                    super()._end_upstream()
                elif self._is_half_closed():
                    super()._end_client()
                else:
                    self._finish_down()
        return is_empty or self._is_finished

    def _refused(self, code: RefusalCode) -> None:
        if code in _AWAY:
            self.end(CloseCode.TRY_AGAIN_LATER, code.value)
        else:
            self.end(CloseCode.POLICY_VIOLATION, code.value)

    def _settle(self) -> None:
        """End the slice in hand, if there is one: used up, or what it is for is over."""
        draft, self._slice = self._slice, None
        if draft is None:
            return
        used = self._slices.ticks - self._left
        if self._by is TunnelUnit.SECONDS:
            until = max(self._from, min(self._until, self._loop.time()))
            used = min(self._slices.ticks, round((until - self._from) * MICRO))
            self._from = until
        self._left = 0
        self._until = self._renews_at = _NEVER
        bytes_in, bytes_out = self.bytes_in, self.bytes_out
        self._slices.settle(
            draft, used, bytes_in - self._recorded_in, bytes_out - self._recorded_out, self._unkept
        )
        self._recorded_in, self._recorded_out = bytes_in, bytes_out

    def _unkept(self) -> None:
        """The journal did not take a slice: nothing more passes unrecorded."""
        self.end(CloseCode.TRY_AGAIN_LATER, RefusalCode.RECORDING_UNAVAILABLE.value)

    def _failed(self, error: BaseException) -> None:
        """A bug must not take the worker with it."""
        self._ports.story_failed(error)
        self._is_asking = False
        self.cut()

    # The end

    def _end_upstream(self) -> None:
        """End the upstream's side when what waits for it has passed."""
        self._upward.has_ended = True
        if not self._upward.held:
            super()._end_upstream()

    def _end_client(self) -> None:
        """End the client's side when what waits for it has passed."""
        self._downward.has_ended = True
        if not self._downward.held:
            super()._end_client()

    def _upstream_ended(self) -> None:
        self._downward.has_ended = True
        if not self._downward.held:
            self._finish_down()

    def _finish_down(self) -> None:
        self._stop_passing()
        self._client.close()

    def _stop_passing(self) -> None:
        """Drop what waits: it never passed and was not charged. Settle the slice in hand."""
        if self._is_finished:
            return
        self._is_finished = True
        self._settle()
        for way in (self._upward, self._downward):
            for data in way.held:
                way.frames.read(data, way.at, len(data), UNBOUNDED)  # a Close may be in it
                way.at = 0
            way.held.clear()

    def time_is_up(self, now: float) -> None:
        """See what is due: the tunnel's end, or that of the slice in hand."""
        if not self._is_finished and self._slice is not None:
            if self._until <= now:
                self._settle()
            elif self._renews_at <= now:
                # A slice belongs also to the billing period and prices in which it was reserved.
                active = self._slice.active
                if self._ports.clock.now_micro() >= active.valid_until_micro:
                    self._settle()
                else:
                    self._renews_at = now + 1.0
        super().time_is_up(now)
        if not self._is_finished and self._slice is None and self._by is TunnelUnit.SECONDS:
            self._ask()

    def _next_due(self) -> float:
        return min(super()._next_due(), self._until, self._renews_at)

    def _is_over(self) -> bool:
        return super()._is_over() and not self._is_asking
