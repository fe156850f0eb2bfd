"""Counters in Redis or Valkey: one EVALSHA a charge, many charges a write, one deadline for all.

What is known of a charge that was not answered in time:

- It is answered later: if it had been admitted after all, it is given back, run id included, for
  its request was refused (or counted elsewhere). Source: "a refused request changes no counter".
  If it names a run, its caller may try again before the answer comes, and must not find the run
  taken: what gives it back follows at once on the same connection, so ahead of the retry.
- The connection breaks first: nobody can know, but of a run, which Redis can be asked about: it is
  given back if it was taken. Others are neither repeated nor given back, so a counter may hold one
  charge too many per request in flight; ``reconcile`` finds it.
"""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog
from hiredis import ReplyError

from gateway.clock import Clock
from gateway.counters.port import CounterStore
from gateway.counters.redis_commands import (
    ADMITTED,
    CHARGE,
    CORRECT,
    REPEAT_ADMITTED,
    STALE,
    charge_command,
    correction_command,
    counts_of,
    mget_command,
)
from gateway.counters.redis_connection import BreakerSettings, RedisConnection
from gateway.counters.redis_link import RedisLink, Reply, Unanswered
from gateway.counters.redis_url import parse_redis_url
from gateway.errors import StoreUnavailable
from gateway.rules.charge import Charge, Correction, CounterDelta, Counts, StaleTemplate
from gateway.story import current, pause
from gateway.tasks import spawn
from gateway.telemetry.metrics import StoreStats
from gateway.telemetry.state_log import StateLog

_log = structlog.get_logger("counters")

CORRECTIONS_PER_WRITE: Final = 128
"""So many corrections take Redis about 2 ms, well within the deadline that they share."""

GIVE_BACKS_MAX: Final = 10_000
"""Late charges waiting to be given back: a second at full speed. More are dropped, loudly."""

GIVE_BACK_RETRY_SECONDS: Final = 0.2
"""First pause between attempts; each next one is twice as long."""
GIVE_BACK_RETRY_SECONDS_MAX: Final = 10.0

_VARIABLE: Final = re.compile(r"[0-9a-f]{40}|[0-9]+")
"""What two errors of one kind may differ in: scripts, lines, numbers."""

CLOCK_SAMPLES_EVERY: Final = 64
"""The store's clock is read from every so-manieth answer; more often would only cost."""


class RedisCounterStore(CounterStore):
    """The counter store for several workers.

    Args:
        url: See ``redis_url``.
        deadline_seconds: Of every call; a charge whose script had to be loaded first gets two.
        clock: Monotonic and wall time.
        stats: Counted up: corrections, timeouts, errors, reconnects, openings of the breaker.
        breaker: When the store counts as away.

    Raises:
        GatewayError: the URL is wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_seconds: float,
        clock: Clock,
        stats: StoreStats,
        breaker: BreakerSettings | None = None,
    ) -> None:
        self._stats = stats
        self._errors = StateLog(_log, "counters.redis_error", clock.monotonic_micro)
        self._lost = StateLog(_log, "counters.give_backs_lost", clock.monotonic_micro)
        self._samples = 0
        self._give_backs: deque[bytes] = deque()
        self._giver: asyncio.Task[None] | None = None
        self._connection = RedisConnection(
            parse_redis_url(url),
            deadline_seconds=deadline_seconds,
            clock=clock,
            stats=stats,
            breaker=breaker or BreakerSettings(),
            on_late=self._answered_late,
            on_available=self._give_back,
        )

    async def charge(self, charge: Charge) -> Counts:
        """Add all amounts, or none. See ``CounterStore``."""
        link = self._connection.link
        if link is None:
            raise _away()
        command, story = charge_command(charge), current()
        if story is None:
            reply = await link.send(command, charge)
        else:
            asked = link.ask(command, charge, story)
            while not asked.is_done:
                await pause()
            reply = asked.reply
        if type(reply) is not list:
            reply = await self._charge_again(link, charge, reply)
        verdict, now_micro = reply[0], reply[1]
        self._samples += 1
        if self._samples >= CLOCK_SAMPLES_EVERY:
            self._samples = 0
            self._connection.learn_now(now_micro)
        if verdict == STALE:
            raise StaleTemplate(now_micro)
        return counts_of(reply)

    async def _charge_again(self, link: RedisLink, charge: Charge, reply: Reply) -> list[int]:
        """Load the script and charge once more if Redis has lost it: then nothing was executed."""
        if _is_script_missing(reply):
            link.send(CHARGE.load_command)
            reply = await link.send(charge_command(charge), charge)
        if isinstance(reply, list):
            return reply
        if charge.run_key is not None:
            if reply is Unanswered.TIMED_OUT:
                link.tell(_untake_command(charge))
            elif reply is Unanswered.LOST:
                self._owe(_untake_command(charge))
        raise self._failure(link, reply)

    async def correct(self, corrections: Sequence[Correction]) -> None:
        """Apply each correction once. See ``CounterStore``."""
        commands = [correction_command(correction) for correction in corrections]
        for start in range(0, len(commands), CORRECTIONS_PER_WRITE):
            await self._apply(commands[start : start + CORRECTIONS_PER_WRITE])
        self._stats.corrections += len(corrections)

    async def _apply(self, commands: Sequence[bytes]) -> None:
        link = self._connection.link
        if link is None:
            raise _away()
        replies = await asyncio.gather(*map(link.send, commands))
        missing = [
            command
            for command, reply in zip(commands, replies, strict=True)
            if _is_script_missing(reply)
        ]
        if missing:
            replies = [reply for reply in replies if not _is_script_missing(reply)]
            link.send(CORRECT.load_command)
            replies += await asyncio.gather(*map(link.send, missing))
        failed = [reply for reply in replies if type(reply) is not int]
        if failed:
            raise self._failure(link, failed[0])

    async def read(self, tag: str, keys: Sequence[str]) -> tuple[int, ...]:  # noqa: ARG002 - for sharding
        """Return the counters' values. See ``CounterStore``."""
        if not keys:
            return ()
        link = self._connection.link
        if link is None:
            raise _away()
        reply = await link.send(mget_command(keys))
        if not isinstance(reply, list):
            raise self._failure(link, reply)
        values: list[object] = list(reply)
        return tuple(int(value) if isinstance(value, bytes) else 0 for value in values)

    def now_micro(self) -> int:
        """Return the store's clock: the monotonic clock plus what its answers taught."""
        return self._connection.now_micro()

    @property
    def is_available(self) -> bool:
        """Whether calls are tried at all. See ``CounterStore``."""
        return self._connection.link is not None

    async def start(self) -> None:
        """Connect. See ``CounterStore``."""
        await self._connection.start()

    async def close(self) -> None:
        """Stop. Late charges that are not given back yet are logged."""
        await self._connection.close()  # first: what is under way may have to be given back, too
        if self._giver is not None:
            self._giver.cancel()
            await asyncio.wait([self._giver])
        if self._give_backs:
            _log.error("counters.give_backs_lost", count=len(self._give_backs))

    def _failure(self, link: RedisLink, reply: Reply) -> StoreUnavailable:
        """Count a failed call and say what it means."""
        if reply is Unanswered.TIMED_OUT:
            self._stats.timeouts += 1
            return StoreUnavailable(
                "counters.timeout",
                "the counter store did not answer within its deadline",
                "look at its load and at the network between; SLOWLOG shows slow commands",
            )
        self._stats.errors += 1
        if reply is Unanswered.LOST:
            return StoreUnavailable(
                "counters.connection_lost",
                "the connection to the counter store broke before it answered",
                "the charge may have been counted; `gateway reconcile` compares with the ledger",
            )
        if "READONLY" in str(reply):
            # A replica now: a new connection may be led to the primary. Redis 6 says it within a
            # sentence about the script.
            link.abort()
        self._errors.note(_kind_of(reply), reason=str(reply)[:200])
        return StoreUnavailable(
            "counters.store_error",
            f"the counter store answered with the error {str(reply).partition(' ')[0]}",
            "the log line counters.redis_error has the whole text of the first one",
        )

    def _answered_late(self, owner: object, reply: Reply) -> None:
        """Give back a charge that was admitted after its caller had been told otherwise."""
        if not isinstance(owner, Charge):
            return
        if isinstance(reply, list):
            if reply[0] in (ADMITTED, REPEAT_ADMITTED):
                self._owe(_give_back_command(owner, is_repeat=reply[0] == REPEAT_ADMITTED))
        elif reply is Unanswered.LOST and owner.run_key is not None:
            self._owe(_untake_command(owner))

    def _owe(self, command: bytes) -> None:
        """Keep what gives a charge back until Redis has taken it."""
        if len(self._give_backs) >= GIVE_BACKS_MAX:
            self._lost.note()
            return
        self._give_backs.append(command)
        self._give_back()

    def _give_back(self) -> None:
        if self._give_backs and (self._giver is None or self._giver.done()):
            self._giver = spawn(self._give_back_all(), name="counters.give_back")

    async def _give_back_all(self) -> None:
        """Send what is to be given back, again and again until it is acknowledged."""
        pause_seconds = GIVE_BACK_RETRY_SECONDS
        while self._give_backs and self._connection.link is not None:
            count = min(len(self._give_backs), CORRECTIONS_PER_WRITE)
            try:
                await self._apply([self._give_backs[index] for index in range(count)])
            except StoreUnavailable:
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, GIVE_BACK_RETRY_SECONDS_MAX)
                continue
            for _ in range(count):
                self._give_backs.popleft()
            self._stats.corrections += count


def _give_back_command(
    charge: Charge, *, is_repeat: bool, only_if_run_taken: bool = False
) -> bytes:
    """Return what undoes an admitted charge.

    It is remembered by a name of its own: the request's own correction may come under the hold id.
    """
    correction = Correction(
        tag=charge.template.tag,
        hold_id=charge.hold_id,
        deltas=tuple(
            CounterDelta(entry.key, -amount_micro, entry.expires_at_seconds)
            for entry, amount_micro in zip(
                charge.template.entries, charge.amounts_micro, strict=True
            )
            if amount_micro and (entry.counts_repeats or not is_repeat)
        ),
        run_key=charge.run_key,
        release_run=not is_repeat,
    )
    return correction_command(
        correction,
        correction_id=f"{charge.hold_id}:late",
        only_if_run_taken=only_if_run_taken,
    )


def _untake_command(charge: Charge) -> bytes:
    """Return what gives a charge back if it took its run, which nobody was told."""
    return _give_back_command(charge, is_repeat=False, only_if_run_taken=True)


def _kind_of(reply: Reply) -> str:
    """Return what tells errors of Redis apart: the code, and the words of those that have none."""
    text = str(reply)
    code = text.partition(" ")[0]
    return _VARIABLE.sub("", text)[:100] if code == "ERR" else code


def _is_script_missing(reply: Reply) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")


def _away() -> StoreUnavailable:
    return StoreUnavailable(
        "counters.away",
        "the counter store is away",
        "see the last counters.redis_unreachable or counters.breaker_opened log line",
    )
