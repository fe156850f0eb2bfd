"""B2, B12: hits never wait, unknown keys exhaust nothing, changes are in force at once."""

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest
from structlog.testing import capture_logs

from gateway.errors import DirectoryUnavailable, GatewayError
from gateway.keys.cache import CacheLimits, CachingKeyDirectory
from gateway.keys.port import Change, FeedEnd, KeyEntry
from gateway.telemetry.metrics import DirectoryStats
from tests.support.fake_clock import FakeClock


class Source:
    """A key source in a dictionary that counts how often it is asked."""

    def __init__(self) -> None:
        self.entries: dict[bytes, KeyEntry] = {}
        self.feed: list[Change] = []
        self.loads = 0
        self.is_away = False
        self.gate = threading.Event()
        self.gate.set()
        self.feed_gate = threading.Event()
        self.feed_gate.set()

    def put(self, key_hash: bytes, plan: str = "STARTER") -> None:
        self.entries[key_hash] = KeyEntry("k", key_hash, "egw", "w", plan)
        self.feed.append(Change(len(self.feed) + 1, key_hash))

    def load(self, key_hash: bytes) -> KeyEntry | None:
        self.loads += 1
        self.gate.wait(5)
        if self.is_away:
            raise DirectoryUnavailable("keys.away", "away")
        return self.entries.get(key_hash)

    def changes_after(self, sequence: int) -> Sequence[Change]:
        if self.is_away:
            raise DirectoryUnavailable("keys.away", "away")
        return [change for change in self.feed if change.sequence > sequence]

    def feed_end(self) -> FeedEnd:
        latest = len(self.feed)
        assert self.feed_gate.wait(5)
        return FeedEnd(latest)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def stats() -> DirectoryStats:
    return DirectoryStats()


@pytest.fixture
async def directory(source: Source, stats: DirectoryStats) -> Iterator[CachingKeyDirectory]:  # type: ignore[misc]
    async def never(_seconds: float) -> None:
        await asyncio.Event().wait()

    directory = CachingKeyDirectory(
        source, clock=FakeClock(), stats=stats, wait=never,
        limits=CacheLimits(entries_max=100, unknown_max=50, misses_per_second=10, misses_burst=20),
    )  # fmt: skip
    await directory.start()
    yield directory
    await directory.close()


async def test_known_key_is_looked_up_once(directory: CachingKeyDirectory, source: Source) -> None:
    source.put(b"a")
    first = await directory.find(b"a")

    assert first is not None
    assert await directory.find(b"a") is first
    assert source.loads == 1


async def test_cached_key_is_found_without_waiting(
    directory: CachingKeyDirectory, source: Source
) -> None:
    source.put(b"a")
    await directory.find(b"a")
    finding = directory.find(b"a")

    with pytest.raises(StopIteration):
        finding.send(None)


async def test_hundred_callers_of_one_key_are_one_look_up(
    directory: CachingKeyDirectory, source: Source
) -> None:
    source.put(b"a")

    found = await asyncio.gather(*(directory.find(b"a") for _ in range(100)))

    assert source.loads == 1
    assert len({id(entry) for entry in found}) == 1


async def test_change_is_in_force_with_the_next_look_at_the_feed(
    directory: CachingKeyDirectory, source: Source
) -> None:
    source.put(b"a", "SANDBOX")
    await directory.find(b"a")
    assert await directory.find(b"b") is None
    source.put(b"a", "GROWTH")
    source.put(b"b")

    await directory.follow_changes()

    changed = await directory.find(b"a")
    assert changed is not None
    assert changed.plan == "GROWTH"
    assert await directory.find(b"b") is not None


async def test_unknown_keys_exhaust_neither_memory_nor_database(
    directory: CachingKeyDirectory, source: Source, stats: DirectoryStats
) -> None:
    refused = 0
    for number in range(500):
        try:
            assert await directory.find(b"%d" % number) is None
        except DirectoryUnavailable:
            refused += 1

    assert source.loads <= 25
    assert refused >= 475
    assert stats.lookups_refused == refused
    source.put(b"good")
    await directory.follow_changes()


async def test_whoever_invents_keys_does_not_keep_others_from_theirs(
    directory: CachingKeyDirectory, source: Source
) -> None:
    """B12: a worker that has just begun knows no key yet, and must find those that are there."""
    refused = 0
    for number in range(200):
        try:
            await directory.find(b"%d" % number, "203.0.113.9")
        except DirectoryUnavailable:
            refused += 1
        source.put(b"good-%d" % number)
        assert await directory.find(b"good-%d" % number, "192.0.2.1") is not None

    assert refused > 180


async def test_cached_keys_go_on_while_the_source_is_away(
    directory: CachingKeyDirectory, source: Source
) -> None:
    source.put(b"a")
    await directory.find(b"a")
    source.is_away = True
    await directory.follow_changes()

    assert await directory.find(b"a") is not None
    with pytest.raises(DirectoryUnavailable):
        await directory.find(b"other")


async def test_a_look_at_the_changes_that_hangs_is_given_up_and_begun_anew(
    source: Source, stats: DirectoryStats
) -> None:
    """B12: a database that hangs must not keep a revoked key alive in silence."""
    clock = FakeClock()
    limits = CacheLimits(feed_seconds=0.02)
    directory = CachingKeyDirectory(source, clock=clock, stats=stats, limits=limits)
    await directory.follow_changes()
    source.put(b"a")
    await directory.find(b"a")
    del source.entries[b"a"]
    source.feed.append(Change(len(source.feed) + 1, b"a"))
    hung = source.feed_gate
    hung.clear()
    clock.advance(3)
    with capture_logs() as lines:
        await directory.follow_changes()
    assert [line["event"] for line in lines] == ["keys.feed_lost"]
    assert (stats.errors, directory.feed_age_micro) == (1, 3_000_000)
    assert directory.known(b"a") is not None

    source.feed_gate = threading.Event()
    source.feed_gate.set()
    await directory.follow_changes()

    assert directory.known(b"a") is None
    assert directory.feed_age_micro == 0
    hung.set()
    await directory.close()


async def test_what_a_look_that_hung_finds_at_last_is_found_again(
    source: Source, stats: DirectoryStats
) -> None:
    limits = CacheLimits(feed_seconds=0.02)
    directory = CachingKeyDirectory(source, clock=FakeClock(), stats=stats, limits=limits)
    await directory.follow_changes()
    source.put(b"a")
    await directory.find(b"a")
    source.feed_gate.clear()
    await directory.follow_changes()
    source.feed_gate.set()
    while any(thread.name.startswith("keys-feed") for thread in threading.enumerate()):
        await asyncio.sleep(0.001)
    assert directory.known(b"a") is not None

    await directory.follow_changes()

    assert directory.known(b"a") is None
    await directory.close()


@pytest.mark.parametrize("error", [GatewayError("database.refused_data", "?", "!"), KeyError("x")])
async def test_no_error_of_the_source_ends_the_look_at_its_changes(
    source: Source, stats: DirectoryStats, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """B12: a key that is revoked afterwards would be valid for ever."""
    turn = asyncio.Semaphore(0)

    async def wait(_seconds: float) -> None:
        await turn.acquire()

    def fails(_sequence: int) -> Sequence[Change]:
        raise error

    directory = CachingKeyDirectory(source, clock=FakeClock(), stats=stats, wait=wait)
    await directory.start()
    source.put(b"a", "SANDBOX")
    await directory.find(b"a")
    with monkeypatch.context() as patched:
        patched.setattr(source, "changes_after", fails)
        turn.release()
        while not stats.errors:
            await asyncio.sleep(0)
    del source.entries[b"a"]
    source.feed.append(Change(len(source.feed) + 1, b"a"))
    turn.release()
    while stats.cached:
        await asyncio.sleep(0)

    assert await directory.find(b"a") is None

    await directory.close()


async def test_oldest_entries_leave_when_the_cache_is_full(
    directory: CachingKeyDirectory, source: Source, stats: DirectoryStats
) -> None:
    for number in range(150):
        source.put(b"k%d" % number)
        await directory.find(b"k%d" % number)

    assert stats.cached <= 100


async def test_an_entry_that_is_used_stays_when_older_ones_leave(
    directory: CachingKeyDirectory, source: Source
) -> None:
    for number in range(150):
        source.put(b"k%d" % number)
        await directory.find(b"k%d" % number)
        directory.known(b"k0")

    assert directory.known(b"k0") is not None
    assert directory.known(b"k1") is None
    assert directory.known(b"k149") is not None
