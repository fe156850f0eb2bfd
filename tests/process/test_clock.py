"""The real clock counts microseconds, whole ones, of the instants that it says."""

import time
from datetime import UTC, datetime, timedelta

from gateway.process.clock import SystemClock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_wall_time_is_microseconds_since_the_epoch() -> None:
    before = time.time_ns()
    now_micro = SystemClock().now_micro()
    after = time.time_ns()

    assert type(now_micro) is int
    assert before // 1000 <= now_micro <= after // 1000
    assert (EPOCH + timedelta(microseconds=now_micro)).year >= 2025


def test_monotonic_time_is_microseconds_and_never_goes_back() -> None:
    clock = SystemClock()
    before = time.monotonic_ns()
    read = [clock.monotonic_micro() for _ in range(1_000)]
    after = time.monotonic_ns()

    assert read == sorted(read)
    assert before // 1000 <= read[0]
    assert read[-1] <= after // 1000
