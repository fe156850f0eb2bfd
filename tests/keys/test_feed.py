"""Where a cache stands in the change feed."""

from collections.abc import Sequence

import pytest

from gateway.errors import DirectoryUnavailable
from gateway.keys.feed import AWAY_MAX_SECONDS, REMIND_SECONDS, ChangeFeed
from gateway.keys.port import Change, FeedEnd, KeyEntry
from tests.support.fake_clock import FakeClock


class Feed:
    """A source that has nothing but a feed."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.is_away = False
        self.server = "a"

    def add(self, name: bytes) -> Change:
        change = Change(len(self.changes) + 1, name)
        self.changes.append(change)
        return change

    def load(self, key_hash: bytes) -> KeyEntry | None:
        raise AssertionError("the feed looks up no keys")

    def changes_after(self, sequence: int) -> Sequence[Change]:
        return [change for change in self.changes if change.sequence > sequence]

    def feed_end(self) -> FeedEnd:
        if self.is_away:
            raise DirectoryUnavailable("directory.unavailable", "away")
        return FeedEnd(len(self.changes), self.server)


@pytest.fixture
def source() -> Feed:
    return Feed()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def feed(source: Feed, clock: FakeClock) -> ChangeFeed:
    return ChangeFeed(source, clock=clock)


def test_the_first_reading_only_finds_the_place(source: Feed, feed: ChangeFeed) -> None:
    source.add(b"old")
    assert feed.read() is None
    assert feed.read() == []
    new = source.add(b"new")
    assert feed.read() == [new]
    assert feed.read() == []


def test_a_feed_that_went_back_means_that_all_may_have_changed(
    source: Feed, feed: ChangeFeed
) -> None:
    """A database restored from a backup begins to count where the backup ended."""
    source.add(b"a")
    source.add(b"b")
    feed.read()
    source.changes.pop()
    assert feed.read() is None
    assert feed.read() == []


def test_on_another_server_all_may_have_changed_wherever_its_feed_ends(
    source: Feed, feed: ChangeFeed
) -> None:
    """A standby that was promoted may lack changes, and have others under their numbers."""
    source.add(b"a")
    feed.read()
    for server, added in (("b", []), ("c", [b"b"]), ("a", [])):
        for name in added:
            source.add(name)
        source.server = server
        assert feed.read() is None
        assert feed.read() == []


def test_changes_read_from_two_servers_are_no_proof(source: Feed, feed: ChangeFeed) -> None:
    """The end was asked of one server, what comes before it of the next."""
    source.add(b"a")
    feed.read()
    read = source.changes_after

    def moved(sequence: int) -> Sequence[Change]:
        source.server = "b"
        return read(sequence)

    source.add(b"b")
    source.changes_after = moved  # type: ignore[method-assign]
    feed.read()
    assert feed.read() is None


def test_after_a_long_absence_all_may_have_changed(
    source: Feed, feed: ChangeFeed, clock: FakeClock
) -> None:
    feed.read()
    clock.advance(AWAY_MAX_SECONDS)
    assert feed.read() == []
    clock.advance(AWAY_MAX_SECONDS + 1)
    assert feed.read() is None


def test_loss_is_told_at_once_then_every_minute_and_its_end_once(
    source: Feed, feed: ChangeFeed, clock: FakeClock
) -> None:
    feed.read()
    source.is_away = True
    told = []
    for _ in range(2 * REMIND_SECONDS + 1):
        with pytest.raises(DirectoryUnavailable):
            feed.read()
        told += list(feed.lost())
        clock.advance(1)
    assert told == [("keys.feed_lost", {"stale_seconds": n}) for n in (0, 60, 120)]
    source.is_away = False
    assert feed.read() == []
    assert list(feed.regained()) == [("keys.feed_regained", {"position": 0})]
    assert list(feed.regained()) == []
