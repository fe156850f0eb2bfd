"""Where a cache stands in its source's change feed, and whether it still follows it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gateway.clock import Clock
from gateway.keys.port import Change, FeedEnd, KeySource

AWAY_MAX_SECONDS: Final = 3_600
"""After a longer absence the cache forgets all: the source keeps its feed for a day only."""

REMIND_SECONDS: Final = 60

_MICRO: Final = 1_000_000

Event = tuple[str, dict[str, int]]
"""What to log: the event's name and its facts."""


class ChangeFeed:
    """Reads a source's changes from where it left off. ``read`` blocks; the rest does not."""

    def __init__(self, source: KeySource, *, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._position: FeedEnd | None = None
        self._read_at_micro = clock.monotonic_micro()
        self._reminded_at_micro: int | None = None

    @property
    def age_micro(self) -> int:
        """How long ago it was last read."""
        return self._clock.monotonic_micro() - self._read_at_micro

    def read(self) -> list[Change] | None:
        """Return the changes since the last call; None if everything may have changed.

        Raises:
            DirectoryUnavailable: the source can't be asked.
        """
        began_at_micro = self._clock.monotonic_micro()
        away_micro = began_at_micro - self._read_at_micro
        latest = self._source.feed_end()
        position = self._position
        if (
            position is None
            or away_micro > AWAY_MAX_SECONDS * _MICRO
            # Another server may have lost changes that were read, and have others in their places.
            or latest.server != position.server
            # A feed that went back is another database, or a restored one.
            or latest.sequence < position.sequence
        ):
            changes: list[Change] | None = None
            self._position = latest
        elif latest.sequence == position.sequence:
            changes = []
        else:
            changes = list(self._source.changes_after(position.sequence))
            last = max((change.sequence for change in changes), default=position.sequence)
            self._position = replace(position, sequence=last)
        self._read_at_micro = began_at_micro
        return changes

    def lost(self) -> Iterator[Event]:
        """Yield what to log after a failed read: once at first, then every minute."""
        now_micro = self._clock.monotonic_micro()
        last_micro = self._reminded_at_micro
        if last_micro is not None and now_micro - last_micro < REMIND_SECONDS * _MICRO:
            return
        self._reminded_at_micro = now_micro
        stale_seconds = (now_micro - self._read_at_micro) // _MICRO
        yield "keys.feed_lost", {"stale_seconds": stale_seconds}

    def regained(self) -> Iterator[Event]:
        """Yield what to log after a successful read: something only if it had failed before."""
        if self._reminded_at_micro is not None:
            self._reminded_at_micro = None
            yield (
                "keys.feed_regained",
                {"position": self._position.sequence if self._position else 0},
            )
