"""X1: what clients may hold, counted exactly and judged fairly."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.admission import Addresses, BodyPace

RATE, GRACE = 100, 10.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60))
def test_no_address_ever_has_more_than_the_bound(steps: list[tuple[str, bool]]) -> None:
    addresses, held = Addresses(), {"a": 0, "b": 0}
    for address, enters in steps:
        if enters:
            had_room = held[address] < 3
            assert addresses.enter(address, 3) is had_room
            held[address] += had_room
        elif held[address]:
            addresses.leave(address)
            held[address] -= 1
        assert addresses.count(address) == held[address]
        assert addresses.counts == {name: count for name, count in held.items() if count}


def looked(pace: BodyPace, body_bytes: int, now: float, event_id: str = "e") -> bool:
    return pace.is_too_slow(event_id, body_bytes, now, bytes_per_second=RATE, grace_seconds=GRACE)


@given(st.lists(st.floats(0.1, 30), min_size=1, max_size=50))
def test_what_comes_at_the_rate_is_never_too_slow(pauses: list[float]) -> None:
    pace, now, body_bytes = BodyPace(), 1000.0, 0
    assert not looked(pace, body_bytes, now)
    for pause in pauses:
        now += pause
        body_bytes += int(RATE * pause) + 1
        assert not looked(pace, body_bytes, now)


@given(st.integers(0, RATE - 1), st.integers(0, 10**9))
def test_what_comes_slower_ends_within_the_time_of_its_credit(rate: int, at_once: int) -> None:
    """However much came at once in the beginning."""
    pace, now, body_bytes = BodyPace(), 1000.0, 0
    assert not looked(pace, body_bytes, now)
    body_bytes += at_once
    seconds = 0
    while not looked(pace, body_bytes, now):
        now += 1
        seconds += 1
        body_bytes += rate
    assert seconds <= RATE * GRACE / (RATE - rate) + 1


def test_time_in_which_nobody_reads_is_not_judged() -> None:
    pace = BodyPace()
    assert not looked(pace, 0, 0.0)
    pace.stand_still(500.0)
    assert not looked(pace, 0, 509.0)
    assert looked(pace, 0, 511.0)


def test_each_body_begins_anew_and_no_rate_asks_for_nothing() -> None:
    pace = BodyPace()
    assert not looked(pace, 0, 0.0, "first")
    assert looked(pace, 0, 100.0, "first")
    assert not looked(pace, 0, 100.0, "second")
    for now in (200.0, 300.0):
        assert not pace.is_too_slow("x", 0, now, bytes_per_second=0, grace_seconds=GRACE)
