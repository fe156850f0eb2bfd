"""One connection to Redis: commands of a loop tick leave in one write, replies come in order.

Knows no scripts and no charges. Deadlines are kept by one sweep per link, not by a timer per
command. Never reconnects: ``redis_connection`` makes a new link.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from itertools import islice
from typing import Final, cast

from hiredis import HiredisError, Reader, ReplyError

from gateway.clock import Clock

SWEEPS_PER_DEADLINE: Final = 10
"""A sweep costs about 2 us; ten per deadline of 25 ms are a thousandth of a core, while busy."""

OVERDUE_SWEEPS: Final = 7
"""Sweeps after which a command is overdue. Three more may pass until its caller is told: one until
the sweep that first sees the command, one by rounding, one that confirms. So a caller is told
within the deadline, and an answer within seven tenths of it is never refused."""


class Unanswered(Enum):
    """What a command's future holds instead of a reply."""

    TIMED_OUT = "timed_out"
    LOST = "lost"
    """The connection broke: whether the command was executed is unknown."""


Reply = list[int] | int | bytes | None | ReplyError | Unanswered
"""Replies of the commands that the gateway uses; those of TIME and MGET are lists of bytes and are
taken apart as lists of objects."""

_INCOMPLETE: Final = object()


class RedisLink(asyncio.Protocol):
    """One connection, from ``connection_made`` to ``connection_lost``.

    How many commands can be pending is bounded from above: by the requests in flight, each of which
    waits for one, for at most the deadline.

    Args:
        deadline_seconds: Until when a command's future is done, come what may.
        clock: Monotonic time.
        on_late: Given the owner and the reply of a command whose caller no longer waits.
        on_timeout: Called after a sweep that found overdue commands.
        on_lost: Called once when the connection is gone.

    Attributes:
        consecutive_timeouts: Commands overdue since the last reply that came in time.
        writes: How often the transport was written to.
        closed: Done when the connection is gone.
    """

    def __init__(
        self,
        *,
        deadline_seconds: float,
        clock: Clock,
        on_late: Callable[[object, Reply], None],
        on_timeout: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.consecutive_timeouts = 0
        self.writes = 0
        self.is_lost = False
        self.error: Exception | None = None
        self._clock = clock
        self._on_late = on_late
        self._on_timeout = on_timeout
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._create_future = self._loop.create_future
        self.closed: asyncio.Future[None] = self._create_future()
        self._transport: asyncio.Transport | None = None
        self._reader = Reader(notEnoughData=_INCOMPLETE)
        self._buffer: list[bytes] = []
        self._pending: deque[tuple[asyncio.Future[Reply], object]] = deque()
        # Commands are numbered in the order in which they were sent; these are counts of them.
        self._answered = 0
        self._expired = 0
        self._suspect = 0
        self._marks: deque[tuple[int, int]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self.set_deadline(deadline_seconds)

    def set_deadline(self, deadline_seconds: float) -> None:
        """Change the deadline of commands from now on (a handshake is given more time)."""
        self._interval_seconds = deadline_seconds / SWEEPS_PER_DEADLINE
        self._overdue_micro = int(OVERDUE_SWEEPS * self._interval_seconds * 1_000_000)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweep_later()

    def send(self, command: bytes, owner: object = None) -> asyncio.Future[Reply]:
        """Queue a packed command for this tick's write.

        Returns:
            A future that never holds an exception: a reply (an error reply is a value), or
            ``Unanswered``.
        """
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer.append(command)
        future: asyncio.Future[Reply] = self._create_future()
        self._pending.append((future, owner))
        return future

    def abort(self, error: Exception | None = None) -> None:
        """Break the connection now; pending commands are ``LOST``."""
        if self.error is None:
            self.error = error
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin. Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them, in order. Called by the event loop."""
        gets, pending = self._reader.gets, self._pending
        in_time = answered = 0
        try:
            self._reader.feed(data)
            while (reply := gets()) is not _INCOMPLETE:
                future, owner = pending.popleft()
                answered += 1
                if not future.done():
                    future.set_result(reply)
                    in_time += 1
                elif owner is not None:
                    self._on_late(owner, reply)
        except (HiredisError, IndexError) as error:
            # Not the protocol, or a reply that nobody asked for: nothing after it can be trusted.
            self.abort(error)
        self._answered += answered
        if in_time:
            self.consecutive_timeouts = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits. Called by the event loop."""
        self.is_lost = True
        if self.error is None:
            self.error = exc
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._lose_pending()
        self.closed.set_result(None)
        self._on_lost()

    def _lose_pending(self) -> None:
        self._buffer.clear()
        for future, _ in self._pending:
            if not future.done():
                future.set_result(Unanswered.LOST)
        self._pending.clear()

    def _flush(self) -> None:
        if self._transport is None or self.is_lost:
            self._lose_pending()
            return
        self._transport.write(b"".join(self._buffer))
        self._buffer.clear()
        self.writes += 1
        if self._sweeper is None:
            self._mark(self._clock.monotonic_micro())
            self._sweep_later()

    def _sweep_later(self) -> None:
        self._sweeper = self._loop.call_later(self._interval_seconds, self._sweep)

    def _mark(self, now_micro: int) -> None:
        """Note that all commands sent so far were sent by now."""
        self._marks.append((now_micro, self._answered + len(self._pending)))

    def _sweep(self) -> None:
        """Give up commands that were overdue at the last sweep and still are.

        Twice, because after a stall of the loop the first sweep may run before the replies that
        have long arrived are read; between two sweeps the loop has polled for them.
        """
        now_micro = self._clock.monotonic_micro()
        timeouts = self._give_up(self._suspect)
        marks = self._marks
        while marks and now_micro - marks[0][0] >= self._overdue_micro:
            self._suspect = marks.popleft()[1]
        sent = self._answered + len(self._pending)
        is_idle = self._expired >= sent or self._answered >= sent
        if is_idle and (not marks or marks[-1][1] == sent):
            marks.clear()
            self._sweeper = None
        else:
            self._mark(now_micro)
            self._sweep_later()
        if timeouts:
            self.consecutive_timeouts += timeouts
            self._on_timeout()

    def _give_up(self, until: int) -> int:
        """Resolve pending commands numbered below ``until``; return how many had a caller."""
        timeouts = 0
        first = max(self._answered, self._expired)
        for future, _ in islice(
            self._pending, first - self._answered, max(until, first) - self._answered
        ):
            if not future.done():
                future.set_result(Unanswered.TIMED_OUT)
                timeouts += 1
        self._expired = max(self._expired, until)
        return timeouts
