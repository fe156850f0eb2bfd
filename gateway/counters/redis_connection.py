"""Keeps one usable link to a Redis: connects, reconnects, opens and closes the breaker.

``link`` is what callers look at: None while the server is away or too slow, so that they fail at
once instead of waiting for a deadline each. The probe that closes the breaker is the connection's
own, never a caller's request.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from hiredis import ReplyError

from gateway.clock import Clock
from gateway.counters.redis_commands import CHARGE, CORRECT, TIME_COMMAND, pack
from gateway.counters.redis_link import RedisLink, Reply
from gateway.counters.redis_url import RedisAddress
from gateway.tasks import spawn
from gateway.telemetry.metrics import StoreStats
from gateway.telemetry.state_log import StateLog

_log = structlog.get_logger("counters")

RECONNECT_FIRST_SECONDS: Final = 0.05
"""Back-off doubles from here; a restarted server is found again within a blink."""

KEEPALIVE_SECONDS: Final = 10.0
"""An idle link is asked this often, so that a dead one is known before a request needs it."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When the store counts as away, and how it is tried again.

    Attributes:
        timeouts: Consecutive timeouts that open the breaker.
        pause_seconds: Between two probes while it is open (jittered).
        give_up_seconds: A link that answered no probe for so long is broken and made anew.
        connect_seconds: Bound of one attempt to connect, handshake included.
        reconnect_max_seconds: Largest back-off between two attempts (jittered).
    """

    timeouts: int = 5
    pause_seconds: float = 0.05
    give_up_seconds: float = 5.0
    connect_seconds: float = 2.0
    reconnect_max_seconds: float = 2.0


class HandshakeUnanswered(Exception):  # noqa: N818 - says what happened
    """The server took the connection and did not finish the handshake."""


class RedisConnection:
    """A link that is kept alive.

    Args:
        address: Where the server is.
        deadline_seconds: Of every command.
        clock: Monotonic and wall time.
        stats: Counted up: timeouts, reconnects, breaker openings, availability.
        breaker: See ``BreakerSettings``.
        on_late: Given the owner and the reply of a command whose caller no longer waits.
        on_available: Called when the store can be used, at first and again.

    Attributes:
        link: The link to use, None while there is none.
    """

    def __init__(
        self,
        address: RedisAddress,
        *,
        deadline_seconds: float,
        clock: Clock,
        stats: StoreStats,
        breaker: BreakerSettings,
        on_late: Callable[[object, Reply], None],
        on_available: Callable[[], None],
    ) -> None:
        self.link: RedisLink | None = None
        self._address = address
        self._deadline_seconds = deadline_seconds
        self._clock = clock
        self._stats = stats
        self._breaker = breaker
        self._on_late = on_late
        self._on_available = on_available
        self._offset_micro = clock.now_micro() - clock.monotonic_micro()
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._open_link: RedisLink | None = None
        self._connects = 0
        self._is_down_logged = False
        self._losses = StateLog(_log, "counters.redis_lost", clock.monotonic_micro, level="warning")
        self._openings = StateLog(
            _log, "counters.breaker_opened", clock.monotonic_micro, level="warning"
        )
        self._is_recovery_told = True
        stats.is_available = 0

    def now_micro(self) -> int:
        """Return the server's clock, as far as its last answer tells."""
        return self._clock.monotonic_micro() + self._offset_micro

    def learn_now(self, now_micro: int) -> None:
        """Note the server's clock, just received."""
        self._offset_micro = now_micro - self._clock.monotonic_micro()

    async def start(self) -> None:
        """Try to connect once, then keep connected in the background."""
        link = await self._attempt()
        self._keeper = spawn(self._keep(link), name="counters.redis")

    async def close(self) -> None:
        """Break the link and stop."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        self._take_away()
        if self._open_link is not None:
            closed = self._open_link.closed
            self._open_link.abort()
            await closed

    async def _keep(self, link: RedisLink | None) -> None:
        pause_seconds = RECONNECT_FIRST_SECONDS
        while True:
            if link is not None:
                pause_seconds = RECONNECT_FIRST_SECONDS
                await self._watch(link)
            await asyncio.sleep(_jittered(pause_seconds))
            pause_seconds = min(2 * pause_seconds, self._breaker.reconnect_max_seconds)
            link = await self._attempt()

    async def _attempt(self) -> RedisLink | None:
        """Connect once; return None, with a log line, if that fails."""
        try:
            async with asyncio.timeout(self._breaker.connect_seconds):
                link = await self._connect()
        except (OSError, ReplyError, HandshakeUnanswered) as error:
            if not self._is_down_logged:
                self._is_down_logged = self._is_recovery_told = True
                _log.error(
                    "counters.redis_unreachable",
                    server=self._address.name,
                    error=type(error).__name__,
                    reason=self._without_secret(error),
                )
            return None
        self._connects += 1
        if self._connects > 1:
            self._stats.reconnects += 1
        self._is_down_logged = False
        if self._is_recovery_told:
            _log.info("counters.redis_connected", server=self._address.name)
        self._is_recovery_told = False
        self._make_available(link)
        return link

    async def _connect(self) -> RedisLink:
        loop = asyncio.get_running_loop()
        address = self._address
        if address.unix_path is not None:
            _, link = await loop.create_unix_connection(self._new_link, address.unix_path)
        else:
            _, link = await loop.create_connection(
                self._new_link, address.host, address.port, ssl=address.tls
            )
        self._open_link = link
        try:
            await self._shake_hands(link)
        except BaseException:
            link.abort()
            raise
        link.set_deadline(self._deadline_seconds)
        return link

    def _new_link(self) -> RedisLink:
        link: RedisLink = RedisLink(
            deadline_seconds=self._breaker.connect_seconds,
            clock=self._clock,
            on_late=self._on_late,
            on_timeout=self._trip,
            on_lost=lambda: self._lost(link),
        )
        return link

    async def _shake_hands(self, link: RedisLink) -> None:
        """Log in, choose the database, load the scripts, read the clock: one write.

        Raises:
            ReplyError: the server refused one of them.
            HandshakeUnanswered: it did not answer.
        """
        commands: list[bytes] = []
        address = self._address
        if address.password is not None:
            user = () if address.username is None else (address.username,)
            commands.append(pack("AUTH", *user, address.password))
        if address.database:
            commands.append(pack("SELECT", address.database))
        commands += (CHARGE.load_command, CORRECT.load_command, TIME_COMMAND)
        replies = await asyncio.gather(*[link.send(command) for command in commands])
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise reply
        now_micro = micro_of_time(replies[-1])
        if now_micro is None:
            raise HandshakeUnanswered("no answer to the handshake")
        self.learn_now(now_micro)

    async def _watch(self, link: RedisLink) -> None:
        """Return when the link is lost; meanwhile probe it, rarely while all is well."""
        open_seconds = 0.0
        while not link.is_lost:
            pause_seconds = KEEPALIVE_SECONDS
            if self.link is None:
                pause_seconds = _jittered(self._breaker.pause_seconds)
                open_seconds += pause_seconds
            self._changed.clear()
            try:
                async with asyncio.timeout(pause_seconds):
                    await self._changed.wait()
                continue
            except TimeoutError:
                pass
            now_micro = micro_of_time(await link.send(TIME_COMMAND))
            if now_micro is not None:
                self.learn_now(now_micro)
                open_seconds = 0.0
                if self.link is None and not link.is_lost:
                    if self._is_recovery_told:
                        _log.info("counters.breaker_closed", server=self._address.name)
                    self._is_recovery_told = False
                    self._make_available(link)
            elif open_seconds > self._breaker.give_up_seconds:
                link.abort(TimeoutError("no probe was answered"))

    def _without_secret(self, error: Exception) -> str:
        """Return what went wrong; a server that does not know AUTH repeats its arguments."""
        text = str(error)[:200]
        password = self._address.password
        return text.replace(password, "***") if password else text

    def _make_available(self, link: RedisLink) -> None:
        link.consecutive_timeouts = 0
        self.link = link
        self._stats.is_available = 1
        self._on_available()

    def _take_away(self) -> None:
        self.link = None
        self._stats.is_available = 0
        self._changed.set()

    def _trip(self) -> None:
        """Open the breaker if too many commands in a row were overdue."""
        link = self.link
        if link is not None and link.consecutive_timeouts >= self._breaker.timeouts:
            self._stats.breaker_opened += 1
            self._is_recovery_told |= self._openings.note(
                server=self._address.name, timeouts=link.consecutive_timeouts
            )
            self._take_away()

    def _lost(self, link: RedisLink) -> None:
        if link is self._open_link:
            self._open_link = None
            was_usable = self.link is link
            self._take_away()
            if was_usable and self._keeper is not None:
                self._is_recovery_told |= self._losses.note(
                    server=self._address.name,
                    reason=str(link.error or "closed by the server")[:200],
                )


def micro_of_time(reply: object) -> int | None:
    """Return the microseconds that a TIME reply means, None for anything else."""
    if not isinstance(reply, list) or len(reply) != 2:
        return None
    return int(reply[0]) * 1_000_000 + int(reply[1])


def _jittered(seconds: float) -> float:
    """Return between half and all of ``seconds``, so that workers don't come back in step."""
    return random.uniform(seconds / 2, seconds)  # noqa: S311 - no secret hangs on it
