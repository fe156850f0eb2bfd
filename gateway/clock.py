"""The one way to ask for the time. The real clock lives in ``process``; tests bring a fake."""

from abc import abstractmethod
from time import perf_counter_ns
from typing import Final

from mypy_extensions import mypyc_attr

stopwatch_ns: Final = perf_counter_ns
"""Nanoseconds; the difference of two readings is how long something took. Decides nothing, so it is
not injected. Compiled, a name of ours is spared a look-up."""


@mypyc_attr(allow_interpreted_subclasses=True)
class WallClock:
    """Whoever knows what time it is: this machine, or a counter store for all machines."""

    @abstractmethod
    def now_micro(self) -> int:
        """Return microseconds since the Unix epoch."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Clock(WallClock):
    """Wall and monotonic time as integers, so that no rule ever rounds a float."""

    @abstractmethod
    def monotonic_micro(self) -> int:
        """Return microseconds of a clock that never goes back."""
        raise NotImplementedError
