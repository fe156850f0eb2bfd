"""A token bucket in integers."""

import pytest

from gateway.keys.tokens import SharedTokens, TokenBucket
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


def test_no_address_takes_more_than_half() -> None:
    clock = FakeClock()
    shared = SharedTokens(per_second=4, burst=8, clock=clock)

    assert [shared.take("a") for _ in range(5)] == [True] * 4 + [False]
    assert [shared.take("b") for _ in range(5)] == [True] * 4 + [False]
    assert not shared.take("c"), "both halves are taken"
    clock.advance(0.5)
    assert [shared.take("a") for _ in range(2)] == [True, False]
    shared.give_back("a")
    assert shared.take("a")
    assert shared.take("c")
    assert not shared.take("b"), "all are taken again"


def test_what_all_lack_is_not_taken_from_an_address() -> None:
    clock = FakeClock()
    shared = SharedTokens(per_second=2, burst=2, clock=clock)
    for address in "abc":
        shared.take(address)
    assert not shared.take("c")
    clock.advance(0.5)
    assert shared.take("c")


def test_so_many_addresses_are_known_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.keys.tokens.ADDRESSES_MAX", 2)
    shared = SharedTokens(per_second=1, burst=100, clock=FakeClock())
    for address in ("a", "b", "a", "c"):
        shared.take(address)
    assert list(shared._by_address) == ["a", "c"]
    shared.give_back("b")
