"""Event ids are UUIDv7 that nobody else has, in the order in which they were made."""

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.event_ids import COUNT_END, STEP_MS_MAX, EventIds
from tests.support.fake_clock import NOW_MICRO, FakeClock


def millisecond_of(event_id: str) -> int:
    """Return the Unix time in milliseconds that an id tells (RFC 9562 5.7)."""
    return UUID(event_id).int >> 80


def test_an_id_is_a_uuid_of_version_7() -> None:
    """RFC 9562 5.7."""
    event_id = EventIds(FakeClock()).new()

    made = UUID(event_id)
    assert str(made) == event_id
    assert (made.version, made.variant) == (7, RFC_4122)
    assert millisecond_of(event_id) == NOW_MICRO // 1000


def test_two_processes_never_make_the_same() -> None:
    clock = FakeClock()
    ids = [EventIds(clock).new() for _ in range(1000)]

    assert len(set(ids)) == 1000
    bits = [UUID(event_id).int & (1 << 62) - 1 for event_id in ids]
    for bit in range(62):
        assert 300 < sum(value >> bit & 1 for value in bits) < 700


@given(st.lists(st.integers(-2 * STEP_MS_MAX, 70_000_000), max_size=60), st.data())
def test_ids_are_unique_and_sorted_while_the_clock_goes_on(
    steps_ms: list[int], data: st.DataObject
) -> None:
    clock = FakeClock()
    ids = EventIds(clock)
    seen: set[str] = set()
    last = ""
    latest_ms = 0
    for step_ms in steps_ms:
        clock.set(max(0, clock.now_micro() + step_ms * 1000))
        now_ms = clock.now_micro() // 1000
        if latest_ms - now_ms > STEP_MS_MAX:
            last, latest_ms = "", 0
        for _ in range(data.draw(st.integers(1, 5))):
            event_id = ids.new()
            assert event_id > last
            assert event_id not in seen
            assert UUID(event_id).version == 7
            assert millisecond_of(event_id) == max(now_ms, latest_ms)
            seen.add(event_id)
            last, latest_ms = event_id, max(now_ms, latest_ms)


def test_a_full_millisecond_goes_on_in_the_next() -> None:
    ids = EventIds(FakeClock())
    made = [ids.new() for _ in range(2 * COUNT_END + 1)]

    assert made == sorted(set(made))
    assert millisecond_of(made[COUNT_END - 1]) == NOW_MICRO // 1000
    assert millisecond_of(made[COUNT_END]) == NOW_MICRO // 1000 + 1
    assert millisecond_of(made[-1]) == NOW_MICRO // 1000 + 2


def test_a_clock_that_was_far_ahead_is_followed_back() -> None:
    clock = FakeClock()
    ids = EventIds(clock)
    right = ids.new()
    clock.advance(86_400)
    ids.new()
    clock.advance(-86_400)
    again = ids.new()

    assert millisecond_of(again) == millisecond_of(right)
    assert again != right
