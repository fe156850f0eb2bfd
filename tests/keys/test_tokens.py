"""A token bucket in integers."""

from gateway.keys.tokens import TokenBucket
from tests.support.fake_clock import FakeClock


def test_bucket_gives_its_burst_then_its_rate() -> None:
    clock = FakeClock()
    bucket = TokenBucket(per_second=2, burst=3, clock=clock)

    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.advance(0.5)
    assert [bucket.take() for _ in range(2)] == [True, False]
    bucket.give_back()
    assert bucket.take()
    clock.advance(3600)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
