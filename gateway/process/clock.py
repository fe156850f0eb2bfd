"""The real clock."""

import time


class SystemClock:
    """Wall and monotonic time of this machine."""

    __slots__ = ()

    def now_micro(self) -> int:
        """Return microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    def monotonic_micro(self) -> int:
        """Return microseconds of the monotonic clock."""
        return time.monotonic_ns() // 1000
