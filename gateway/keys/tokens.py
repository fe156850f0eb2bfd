"""A token bucket in integers: so many at once, so many per second."""

from typing import Final

from gateway.clock import Clock

_MICRO: Final = 1_000_000


class TokenBucket:
    """Full at first.

    Args:
        per_second: Tokens that come back per second.
        burst: Tokens that it holds.
        clock: Its monotonic time.
    """

    def __init__(self, *, per_second: int, burst: int, clock: Clock) -> None:
        self._per_second = per_second
        self._full_micro = burst * _MICRO
        self._clock = clock
        self._held_micro = self._full_micro
        self._filled_at_micro = clock.monotonic_micro()

    def take(self) -> bool:
        """Take a token if there is one."""
        now_micro = self._clock.monotonic_micro()
        came_micro = (now_micro - self._filled_at_micro) * self._per_second
        self._filled_at_micro = now_micro
        self._held_micro = min(self._full_micro, self._held_micro + came_micro)
        if self._held_micro < _MICRO:
            return False
        self._held_micro -= _MICRO
        return True

    def give_back(self) -> None:
        """Put a token back: what it was taken for turned out not to count."""
        self._held_micro = min(self._full_micro, self._held_micro + _MICRO)
