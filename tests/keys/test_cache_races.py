"""What happens to look-ups in flight: changes overtake them, callers leave, sources hang."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from gateway.errors import DirectoryUnavailable
from gateway.keys.cache import CacheLimits, CachingKeyDirectory
from gateway.keys.port import Change, FeedEnd, KeyEntry
from gateway.telemetry.metrics import DirectoryStats
from tests.support.fake_clock import FakeClock


def entry_of(key_hash: bytes, plan: str) -> KeyEntry:
    return KeyEntry("k", key_hash, "egw", "w", plan)


class GatedSource:
    """Reads its answer at once, gives it back when the gate opens."""

    def __init__(self) -> None:
        self.entries: dict[bytes, KeyEntry] = {}
        self.feed: list[Change] = []
        self.gate = threading.Event()
        self.has_read = threading.Event()
        self.loads = 0
        self.is_away = False

    def load(self, key_hash: bytes) -> KeyEntry | None:
        self.loads += 1
        entry = self.entries.get(key_hash)
        self.has_read.set()
        assert self.gate.wait(10)
        return entry

    def changes_after(self, sequence: int) -> Sequence[Change]:
        return self.feed[sequence:]

    def feed_end(self) -> FeedEnd:
        if self.is_away:
            raise DirectoryUnavailable("directory.unavailable", "away")
        return FeedEnd(len(self.feed))

    def change(self, key_hash: bytes, plan: str) -> None:
        self.entries[key_hash] = entry_of(key_hash, plan)
        self.feed.append(Change(len(self.feed) + 1, key_hash))


async def never(_seconds: float) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def source() -> GatedSource:
    return GatedSource()


@pytest.fixture
def stats() -> DirectoryStats:
    return DirectoryStats()


Open = Callable[[CacheLimits], Awaitable[CachingKeyDirectory]]


@pytest.fixture
async def open_directory(source: GatedSource, stats: DirectoryStats) -> object:
    opened: list[CachingKeyDirectory] = []

    async def open_with(limits: CacheLimits) -> CachingKeyDirectory:
        directory = CachingKeyDirectory(
            source, clock=FakeClock(), stats=stats, limits=limits, wait=never
        )
        await directory.start()
        opened.append(directory)
        return directory

    yield open_with
    source.gate.set()
    for directory in opened:
        await directory.close()


async def has_read(source: GatedSource) -> None:
    await asyncio.to_thread(source.has_read.wait, 10)


@pytest.mark.parametrize("known_before", [True, False])
async def test_an_answer_that_a_change_overtook_is_not_kept(
    open_directory: Open, source: GatedSource, known_before: bool
) -> None:
    """Else a revoked key would live on, or a new one stay unknown, in this worker alone."""
    directory = await open_directory(CacheLimits())
    if known_before:
        source.change(b"a", "OLD")
        await directory.follow_changes()
    finding = asyncio.ensure_future(directory.find(b"a"))
    await has_read(source)
    source.change(b"a", "NEW")
    await directory.follow_changes()
    source.gate.set()
    overtaken = await finding
    assert (overtaken is not None) == known_before
    fresh = await directory.find(b"a")
    assert fresh is not None
    assert fresh.plan == "NEW"
    assert await directory.find(b"a") is fresh
    assert source.loads == 2


async def test_a_caller_that_leaves_does_not_end_the_look_up_of_the_others(
    open_directory: Open, source: GatedSource
) -> None:
    directory = await open_directory(CacheLimits())
    source.change(b"a", "P")
    leaving, staying = (asyncio.ensure_future(directory.find(b"a")) for _ in range(2))
    await has_read(source)
    leaving.cancel()
    source.gate.set()
    assert await staying is not None
    assert leaving.cancelled()
    assert source.loads == 1


async def test_a_source_that_hangs_holds_no_caller(
    open_directory: Open, source: GatedSource
) -> None:
    directory = await open_directory(CacheLimits(lookup_seconds=0.01))
    with pytest.raises(DirectoryUnavailable, match="did not answer in time"):
        await directory.find(b"a")


async def test_look_ups_in_flight_are_bounded(
    open_directory: Open, source: GatedSource, stats: DirectoryStats
) -> None:
    directory = await open_directory(CacheLimits(lookups_max=3))
    waiting = [asyncio.ensure_future(directory.find(b"%d" % n)) for n in range(3)]
    await has_read(source)
    with pytest.raises(DirectoryUnavailable, match="too many unknown keys"):
        await directory.find(b"one more")
    assert stats.lookups_refused == 1
    source.gate.set()
    assert await asyncio.gather(*waiting) == [None, None, None]
    assert await directory.find(b"one more") is None


async def test_found_keys_do_not_use_up_the_allowance_of_unknown_ones(
    open_directory: Open, source: GatedSource
) -> None:
    """A worker that starts with many keys in use is not an attack."""
    source.gate.set()
    directory = await open_directory(CacheLimits(misses_per_second=1, misses_burst=2))
    for number in range(50):
        source.change(b"%d" % number, "P")
        assert await directory.find(b"%d" % number) is not None


async def test_a_source_that_comes_back_is_followed_from_where_it_was_left(
    open_directory: Open, source: GatedSource, stats: DirectoryStats
) -> None:
    source.gate.set()
    directory = await open_directory(CacheLimits())
    source.change(b"a", "OLD")
    await directory.follow_changes()
    await directory.find(b"a")
    source.is_away = True
    source.change(b"a", "NEW")
    for _ in range(3):
        await directory.follow_changes()
    assert stats.errors == 3
    source.is_away = False
    await directory.follow_changes()
    entry = await directory.find(b"a")
    assert entry is not None
    assert entry.plan == "NEW"


async def test_a_restored_database_empties_the_cache(
    open_directory: Open, source: GatedSource, stats: DirectoryStats
) -> None:
    source.gate.set()
    directory = await open_directory(CacheLimits())
    source.change(b"a", "OLD")
    await directory.follow_changes()
    await directory.find(b"a")
    source.feed.clear()
    source.entries.clear()
    await directory.follow_changes()
    assert stats.cached == 0
    assert await directory.find(b"a") is None


async def test_keys_in_use_outlive_those_that_are_not(
    open_directory: Open, source: GatedSource
) -> None:
    source.gate.set()
    directory = await open_directory(CacheLimits(entries_max=10))
    for number in range(100):
        source.change(b"%d" % number, "P")
        await directory.find(b"%d" % number)
        await directory.find(b"0")
    assert source.loads == 100
