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
from gateway.story import Story

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


class Asked:
    """A command that a story waits for: answered, it goes on at once, without a turn of the loop.

    Attributes:
        reply: What came, or ``Unanswered``; to be read once it ``is_done``.
    """

    __slots__ = ("_story", "is_done", "reply")

    def __init__(self, story: Story) -> None:
        self._story = story
        self.is_done = False
        self.reply: Reply = None

    def done(self) -> bool:
        """Return whether the story knows already."""
        return self.is_done

    def set_result(self, reply: Reply) -> None:
        """Let the story go on."""
        self.is_done = True
        self.reply = reply
        self._story.resume()


class RedisLink(asyncio.Protocol):
    """One connection, from ``connection_made`` to ``connection_lost``.

    How many commands can be pending is bounded from above: by the requests in flight, each of which
    waits for one, for at most the deadline.

    Args:
        deadline_seconds: Until when a command's future is done, come what may.
        clock: Monotonic time.
        on_late: Given the owner and the reply, or ``LOST``, of a command whose caller no longer
            waits.
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
        reader = Reader(notEnoughData=_INCOMPLETE)
        self._feed, self._gets = reader.feed, reader.gets  # looked up once
        self._buffer: list[bytes] = []
        self._was_single = False
        self._pending: deque[tuple[asyncio.Future[Reply] | Asked, object]] = deque()
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
        future: asyncio.Future[Reply] = self._create_future()
        self._queue(command, future, owner)
        return future

    def tell(self, command: bytes) -> None:
        """Queue a packed command whose reply nobody waits for."""
        future: asyncio.Future[Reply] = self._create_future()
        future.set_result(None)
        self._queue(command, future, None)

    def ask(self, command: bytes, owner: object, story: Story) -> Asked:
        """Queue a packed command that a story waits for, which costs less than a future."""
        asked = Asked(story)
        self._queue(command, asked, owner)
        return asked

    def _queue(
        self, command: bytes, waiter: "asyncio.Future[Reply] | Asked", owner: object
    ) -> None:
        """Keep a command for this tick's write; where they come singly it need not wait for one."""
        self._pending.append((waiter, owner))
        self._buffer.append(command)
        if len(self._buffer) > 1:
            return
        if self._was_single and len(self._pending) == 1:
            self._flush()
        else:
            self._loop.call_soon(self._flush)

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
        gets, pending = self._gets, self._pending
        in_time = False
        try:
            self._feed(data)
            while (reply := gets()) is not _INCOMPLETE:
                waiter, owner = pending.popleft()
                self._answered += 1
                if not waiter.done():
                    in_time = True
                    waiter.set_result(reply)
                elif owner is not None:
                    self._on_late(owner, reply)
        except (HiredisError, IndexError) as error:
            # Not the protocol, or a reply that nobody asked for: nothing after it can be trusted.
            self.abort(error)
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
        pending, self._pending = self._pending, deque()
        for waiter, owner in pending:
            if not waiter.done():
                waiter.set_result(Unanswered.LOST)
            elif owner is not None:
                self._on_late(owner, Unanswered.LOST)

    def _flush(self) -> None:
        if self._transport is None or self.is_lost:
            self._lose_pending()
            return
        self._was_single = len(self._buffer) == 1
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
        overdue = list(
            islice(self._pending, first - self._answered, max(until, first) - self._answered)
        )
        self._expired = max(self._expired, until)
        for waiter, _ in overdue:
            if not waiter.done():
                waiter.set_result(Unanswered.TIMED_OUT)
                timeouts += 1
        return timeouts
