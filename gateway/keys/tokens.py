"""Token buckets in integers: so many at once, so many per second, for all and for each address."""

from collections import OrderedDict
from typing import Final

from gateway.clock import Clock

ADDRESSES_MAX: Final = 4096
"""Addresses whose tokens are counted, 0.5 KB each; who was silent longest is forgotten."""

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


class SharedTokens:
    """A bucket for all, of which no address takes more than half.

    So one that takes all it can get leaves something to the others.

    Args:
        per_second: See ``TokenBucket``.
        burst: See ``TokenBucket``.
        clock: See ``TokenBucket``.
    """

    def __init__(self, *, per_second: int, burst: int, clock: Clock) -> None:
        self._all = TokenBucket(per_second=per_second, burst=burst, clock=clock)
        self._half_per_second = max(1, per_second // 2)
        self._half_burst = max(1, burst // 2)
        self._clock = clock
        self._by_address: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, address: str) -> bool:
        """Take a token for an address if it may have one."""
        own = self._by_address.get(address)
        if own is None:
            own = self._by_address[address] = TokenBucket(
                per_second=self._half_per_second, burst=self._half_burst, clock=self._clock
            )
            if len(self._by_address) > ADDRESSES_MAX:
                self._by_address.popitem(last=False)
        else:
            self._by_address.move_to_end(address)
        if not own.take():
            return False
        if self._all.take():
            return True
        own.give_back()
        return False

    def give_back(self, address: str) -> None:
        """Put a token of an address back."""
        self._all.give_back()
        own = self._by_address.get(address)
        if own is not None:
            own.give_back()
