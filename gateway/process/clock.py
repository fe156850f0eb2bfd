"""The real clock."""

from time import monotonic_ns, time_ns
from typing import Final

from gateway.clock import Clock

_wall_ns: Final = time_ns
_steady_ns: Final = monotonic_ns
# Compiled, names of our own are spared a look-up.


class SystemClock(Clock):
    """Wall and monotonic time of this machine."""

    def now_micro(self) -> int:
        """Return microseconds since the Unix epoch."""
        return _wall_ns() // 1000

    def monotonic_micro(self) -> int:
        """Return microseconds of the monotonic clock."""
        return _steady_ns() // 1000
