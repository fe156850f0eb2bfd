"""The key directory of a worker: a bounded cache over a source that blocks.

A key that is cached costs one dictionary look-up and never waits. A key that is not is looked up
once, in a thread, whoever else asks for it meanwhile. The source's change feed is read twice a
second: a revocation is in force within a second, a new key at once. While the source is away,
cached keys go on working and others are refused as "can't be asked now".

Bounded are: entries, hashes known to be unknown, look-ups in flight, and look-ups that find nothing
(whoever invents keys can fill neither the memory nor the database's time).

Source: design sections 3 (step 3) and 4; requirements B2, B12, T16.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.errors import DirectoryUnavailable, GatewayError
from gateway.keys.feed import ChangeFeed
from gateway.keys.format import is_same_hash
from gateway.keys.port import Change, KeyDirectory, KeyEntry, KeySource
from gateway.keys.tokens import SharedTokens
from gateway.tasks import spawn
from gateway.telemetry.metrics import DirectoryStats

POLL_SECONDS: Final = 0.5

_log = structlog.get_logger("keys")


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """Bounds of a directory; the defaults suit one worker.

    Attributes:
        entries_max: Keys in memory. An entry takes 0.5 KB (measured with Python 3.11; 200,000 take
            about 105 MB), plus what the data plane hangs on it.
        unknown_max: Hashes remembered to be unknown, 0.2 KB each.
        unknown_seconds: How long; the change feed ends it sooner for a key that is created.
        lookups_max: Look-ups waiting or running. Measured, the threads do 5,000 a second on SQLite
            and 3,000 on PostgreSQL, so that the last one waits 40 ms: a larger number would only
            hide an overload.
        threads: Look-ups running; a database connection each.
        lookup_seconds: A caller waits no longer for a source that hangs.
        misses_per_second: Look-ups per second that may find nothing, half of them for one address;
            found ones don't count.
        misses_burst: As many at once.
        feed_seconds: A look at the change feed that takes longer hangs, and another begins.
    """

    entries_max: int = 200_000
    unknown_max: int = 50_000
    unknown_seconds: int = 30
    lookups_max: int = 128
    threads: int = 8
    lookup_seconds: float = 2.0
    misses_per_second: int = 200
    misses_burst: int = 1_000
    feed_seconds: float = 5.0


class CachingKeyDirectory(KeyDirectory):
    """Implements ``KeyDirectory`` over a ``KeySource``.

    Args:
        source: Where entries come from; called in threads.
        clock: Its monotonic time.
        stats: Counted up.
        limits: See there.
        wait: Sleeps between two looks at the change feed.
    """

    def __init__(
        self,
        source: KeySource,
        *,
        clock: Clock,
        stats: DirectoryStats,
        limits: CacheLimits | None = None,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._clock = clock
        self._stats = stats
        self._limits = limits or CacheLimits()
        self._wait = wait
        self._entries: OrderedDict[bytes, KeyEntry] = OrderedDict()
        self._unknown_until_micro: OrderedDict[bytes, int] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[KeyEntry | None]] = {}
        self._overtaken: set[bytes] = set()
        self._misses = SharedTokens(
            per_second=self._limits.misses_per_second, burst=self._limits.misses_burst, clock=clock
        )
        self._feed = ChangeFeed(source, clock=clock)
        self._threads = ThreadPoolExecutor(self._limits.threads, "keys-lookup")
        # A thread of its own: look-ups that hang must not delay a revocation.
        self._feed_thread = ThreadPoolExecutor(1, "keys-feed")
        self._watching: asyncio.Task[None] | None = None

    @property
    def feed_age_micro(self) -> int:
        """How long ago the change feed was last read."""
        return self._feed.age_micro

    def known(self, key_hash: bytes) -> KeyEntry | None:
        """Return the entry of a key that is cached."""
        entry = self._entries.get(key_hash)
        if entry is not None:
            if len(self._entries) > self._limits.entries_max // 2:
                # Who was used last matters only to a cache that gets full.
                self._entries.move_to_end(key_hash)
            self._stats.hits += 1
        return entry

    def is_unknown(self, key_hash: bytes) -> bool:
        """Return whether a key was looked for lately and is not there."""
        until_micro = self._unknown_until_micro.get(key_hash)
        if until_micro is None:
            return False
        if self._clock.monotonic_micro() < until_micro:
            return True
        del self._unknown_until_micro[key_hash]
        return False

    async def find(self, key_hash: bytes, address: str = "") -> KeyEntry | None:
        """Return the entry of a key, None if there is no such key.

        Raises:
            DirectoryUnavailable: see ``KeyDirectory``.
        """
        return self.known(key_hash) or await self._find_missing(key_hash, address)

    async def start(self) -> None:
        """Begin to follow the change feed; a source that is away now is asked again later."""
        await self.follow_changes()
        self._watching = spawn(self._watch(), name="keys.follow_changes")

    async def close(self) -> None:
        """Stop; look-ups in flight end in their threads, and nobody waits for them."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
            self._watching = None
        for flight in list(self._flights.values()):
            flight.cancel()
        if self._flights:
            await asyncio.wait(set(self._flights.values()))
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._feed_thread.shutdown(wait=False, cancel_futures=True)

    async def follow_changes(self) -> None:
        """Read the change feed once and forget what changed."""
        try:
            news = await self._read_feed()
        except Exception as error:  # noqa: BLE001 - whatever it is: unwatched, keys stay valid
            self._stats.errors += 1
            told, hint = repr(error), ""
            if isinstance(error, GatewayError):
                told, hint = error.message, error.hint
            for event, facts in self._feed.lost():
                _log.warning(event, **facts, error=told, hint=hint)
            return
        for event, facts in self._feed.regained():
            _log.info(event, **facts)
        if news is None:
            self._forget_all()
        else:
            self._forget(news)

    async def _read_feed(self) -> list[Change] | None:
        """Return what ``ChangeFeed.read`` returns, if that comes in time.

        What hangs goes on in a thread that nobody uses any more, with a place in the feed of its
        own: what it finds when it comes back is found once more by a look that does not hang.
        """
        feed = copy(self._feed)
        reading = asyncio.get_running_loop().run_in_executor(self._feed_thread, feed.read)
        done, _ = await asyncio.wait({reading}, timeout=self._limits.feed_seconds)
        if not done:
            reading.add_done_callback(_told_to_nobody)
            self._feed_thread.shutdown(wait=False)
            self._feed_thread = ThreadPoolExecutor(1, "keys-feed")
            raise DirectoryUnavailable(
                "directory.slow",
                f"the change feed was not read within {self._limits.feed_seconds:g} s",
                "see the key database's load and connections",
            )
        news = reading.result()
        self._feed = feed
        return news

    async def _watch(self) -> None:
        while True:
            await self._wait(POLL_SECONDS)
            await self.follow_changes()

    def _forget(self, changes: list[Change]) -> None:
        for change in changes:
            self._entries.pop(change.key_hash, None)
            self._unknown_until_micro.pop(change.key_hash, None)
            if change.key_hash in self._flights:
                # It may have read what was there before the change: its answer is not kept.
                self._overtaken.add(change.key_hash)
        self._stats.invalidations += len(changes)
        self._stats.cached = len(self._entries)

    def _forget_all(self) -> None:
        self._stats.invalidations += len(self._entries)
        self._entries.clear()
        self._unknown_until_micro.clear()
        self._overtaken.update(self._flights)
        self._stats.cached = 0

    async def _find_missing(self, key_hash: bytes, address: str) -> KeyEntry | None:
        if self.is_unknown(key_hash):
            self._stats.unknown += 1
            return None
        flight = self._flights.get(key_hash)
        if flight is None:
            flight = self._take_off(key_hash, address)
        done, _ = await asyncio.wait({flight}, timeout=self._limits.lookup_seconds)
        if not done or flight.cancelled():
            raise DirectoryUnavailable(
                "directory.slow",
                "the key database did not answer in time",
                "see its load and its connections",
            )
        return flight.result()

    def _take_off(self, key_hash: bytes, address: str) -> asyncio.Task[KeyEntry | None]:
        """Start the one look-up of this key."""
        self._stats.misses += 1
        if len(self._flights) >= self._limits.lookups_max or not self._misses.take(address):
            self._stats.lookups_refused += 1
            raise DirectoryUnavailable(
                "directory.lookups_exhausted",
                "too many unknown keys are being asked for",
                "somebody tries keys, or the key database is slow; keys in use are not affected",
            )
        look_up = self._look_up(key_hash, address)
        flight = spawn(look_up, name="keys.look_up", on_error=_told_to_waiters)
        self._flights[key_hash] = flight
        return flight

    async def _look_up(self, key_hash: bytes, address: str) -> KeyEntry | None:
        loop = asyncio.get_running_loop()
        try:
            entry = await loop.run_in_executor(self._threads, self._source.load, key_hash)
        except DirectoryUnavailable:
            self._stats.errors += 1
            self._misses.give_back(address)
            raise
        finally:
            del self._flights[key_hash]
            is_current = key_hash not in self._overtaken
            self._overtaken.discard(key_hash)
        if entry is None or not is_same_hash(entry.key_hash, key_hash):
            self._stats.unknown += 1
            if is_current:
                self._remember_unknown(key_hash)
            return None
        self._misses.give_back(address)
        if is_current:
            self._remember(entry)
        return entry

    def _remember(self, entry: KeyEntry) -> None:
        self._entries[entry.key_hash] = entry
        if len(self._entries) > self._limits.entries_max:
            self._entries.popitem(last=False)
        self._stats.cached = len(self._entries)

    def _remember_unknown(self, key_hash: bytes) -> None:
        span_micro = self._limits.unknown_seconds * 1_000_000
        self._unknown_until_micro[key_hash] = self._clock.monotonic_micro() + span_micro
        if len(self._unknown_until_micro) > self._limits.unknown_max:
            self._unknown_until_micro.popitem(last=False)


def _told_to_nobody(reading: asyncio.Future[list[Change] | None]) -> None:
    """Take the outcome of a look that came too late, lest the event loop reports it."""
    if not reading.cancelled():
        reading.exception()


def _told_to_waiters(_name: str, _error: BaseException) -> None:
    """Do nothing: each waiter gets the exception; without one nobody asked any more."""
