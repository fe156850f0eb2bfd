"""Event ids are UUIDv7 that nobody else has, in the order in which they were made."""

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.event_ids import COUNT_END, SECOND_NS, STEP_MS_MAX, EventIds
from tests.support.fake_clock import NOW_MICRO, FakeClock


def millisecond_of(event_id: str) -> int:
    """Return the Unix time in milliseconds that an id tells (RFC 9562 5.7)."""
    return UUID(event_id).int >> 80


def test_an_id_is_a_uuid_of_version_7() -> None:
    """RFC 9562 5.7."""
    event_id = EventIds(FakeClock()).new(7)

    made = UUID(event_id)
    assert str(made) == event_id
    assert (made.version, made.variant) == (7, RFC_4122)
    assert millisecond_of(event_id) == NOW_MICRO // 1000


def test_two_processes_never_make_the_same() -> None:
    clock = FakeClock()
    ids = [EventIds(clock).new(0) for _ in range(1000)]

    assert len(set(ids)) == 1000
    bits = [UUID(event_id).int & (1 << 62) - 1 for event_id in ids]
    for bit in range(62):
        assert 300 < sum(value >> bit & 1 for value in bits) < 700


@given(st.lists(st.integers(0, 3_000_000), max_size=60))
def test_an_id_tells_when_it_was_made(steps_micro: list[int]) -> None:
    """To the millisecond, unless the clock was set meanwhile."""
    clock = FakeClock()
    ids = EventIds(clock)
    elapsed_micro = 0
    for step_micro in steps_micro:
        elapsed_micro += step_micro
        clock.set(NOW_MICRO + elapsed_micro)
        told_ms = millisecond_of(ids.new(elapsed_micro * 1000))
        assert abs(told_ms - clock.now_micro() // 1000) <= 1


@given(
    st.lists(
        st.tuples(st.integers(0, 2 * SECOND_NS), st.integers(-3 * STEP_MS_MAX, 90_000_000)),
        max_size=60,
    ),
    st.data(),
)
def test_ids_are_unique_and_sorted_unless_the_clock_goes_far_back(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    clock = FakeClock()
    ids = EventIds(clock)
    now_ns = 0
    seen: set[str] = set()
    last = ""
    for elapsed_ns, set_ms in steps:
        now_ns += elapsed_ns
        clock.set(max(0, clock.now_micro() + elapsed_ns // 1000 + set_ms * 1000))
        for _ in range(data.draw(st.integers(1, 5))):
            event_id = ids.new(now_ns)
            assert event_id not in seen
            assert UUID(event_id).version == 7
            went_back_ms = millisecond_of(last) - millisecond_of(event_id) if last else 0
            assert event_id > last or went_back_ms > STEP_MS_MAX
            seen.add(event_id)
            last = event_id


def test_a_small_step_back_is_waited_out() -> None:
    clock = FakeClock()
    ids = EventIds(clock)
    before = ids.new(0)
    clock.set(NOW_MICRO - STEP_MS_MAX * 1000)
    after = ids.new(2 * SECOND_NS)

    assert after > before
    assert millisecond_of(after) == millisecond_of(before)


def test_a_full_millisecond_goes_on_in_the_next() -> None:
    ids = EventIds(FakeClock())
    made = [ids.new(0) for _ in range(2 * COUNT_END + 1)]

    assert made == sorted(set(made))
    assert millisecond_of(made[COUNT_END - 1]) == NOW_MICRO // 1000
    assert millisecond_of(made[COUNT_END]) == NOW_MICRO // 1000 + 1
    assert millisecond_of(made[-1]) == NOW_MICRO // 1000 + 2


def test_a_clock_that_was_far_ahead_is_followed_back() -> None:
    clock = FakeClock()
    ids = EventIds(clock)
    right = ids.new(0)
    clock.advance(86_400)
    ids.new(SECOND_NS)
    clock.advance(-86_400)
    again = ids.new(2 * SECOND_NS)

    assert millisecond_of(again) == millisecond_of(right)
    assert again != right
