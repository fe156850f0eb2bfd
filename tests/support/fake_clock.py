"""Clocks for tests: one that stands until it is moved, and the real one for real servers."""

import time

from gateway.clock import Clock
from gateway.rules.units import MICRO

NOW_MICRO = 1_763_640_000_000_000
"""2025-11-20 12:00:00 UTC."""


class FakeClock(Clock):
    """A clock that moves only when told."""

    def __init__(self, now_micro: int = NOW_MICRO) -> None:
        self._now_micro = now_micro
        self._monotonic_micro = 0

    def now_micro(self) -> int:
        """Return microseconds since the Unix epoch."""
        return self._now_micro

    def monotonic_micro(self) -> int:
        """Return microseconds that only ``advance`` adds to."""
        return self._monotonic_micro

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now_micro += round(seconds * MICRO)
        self._monotonic_micro += round(seconds * MICRO)

    def set(self, now_micro: int) -> None:
        """Step the wall clock alone, as an administrator or NTP does."""
        self._now_micro = now_micro


class RunningClock(Clock):
    """The machine's clock, for tests against servers that have the same one."""

    def now_micro(self) -> int:
        """Return microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    def monotonic_micro(self) -> int:
        """Return microseconds of a clock that never goes back."""
        return time.monotonic_ns() // 1000
