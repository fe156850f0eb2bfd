"""C12: least pending wins, tied ones in turn; what fails in a row rests, never all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.snapshot import Ejection, Endpoint
from gateway.proxy.balancing import Ejector, EndpointState, choose, ejected_max, rest_seconds

RULES = Ejection()
REST = RULES.rest_seconds


def states(*pending: int) -> list[EndpointState]:
    endpoint = Endpoint("h", 1, tls=False, authority=b"h:1")
    return [EndpointState(endpoint, pending=number) for number in pending]


def ejected(all_states: list[EndpointState], index: int, now: float = 0.0) -> Ejector:
    """Let an endpoint fail as often as it takes."""
    ejector = Ejector(all_states, RULES)
    told = [ejector.failed(all_states[index], now, is_trial=False) for _ in range(RULES.failures)]
    assert told == [False] * (RULES.failures - 1) + [True]
    return ejector


def test_least_pending_is_chosen() -> None:
    assert choose(states(3, 1, 2), 0.0) == 1
    assert choose(states(1, 1), 0.0) == 0


def test_what_was_tried_is_not_tried_again() -> None:
    assert choose(states(0, 5), 0.0, frozenset({0})) == 1
    assert choose(states(0, 5), 0.0, frozenset({0, 1})) is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 99))
def test_nobody_has_less_pending_than_who_is_chosen(pending: list[int], turn: int) -> None:
    index = choose(states(*pending), 0.0, frozenset(), turn)

    assert index is not None
    assert pending[index] == min(pending)


@given(st.integers(1, 6), st.integers(0, 99), st.integers(1, 60))
def test_tied_endpoints_are_used_in_turn(count: int, turn: int, requests: int) -> None:
    """One after the other, each done before the next: nobody is asked twice more than another."""
    idle, asked = states(*[0] * count), [0] * count
    for _ in range(requests):
        index = choose(idle, 0.0, frozenset(), turn)
        assert index is not None
        asked[index] += 1
        turn = index + 1

    assert max(asked) - min(asked) <= 1


@given(st.integers(2, 5), st.integers(0, 99), st.lists(st.integers(0, 99), max_size=60))
def test_requests_under_way_spread_evenly(count: int, turn: int, ends: list[int]) -> None:
    """Whatever ends in between, a request never goes where more is under way than elsewhere."""
    busy = states(*[0] * count)
    for end in ends:
        index = choose(busy, 0.0, frozenset(), turn)
        assert index is not None
        assert all(busy[index].pending <= other.pending for other in busy)
        busy[index].pending += 1
        turn = index + 1
        if end % 3 == 0:
            done = busy[end % count]
            done.pending = max(0, done.pending - 1)


def test_failing_endpoint_is_ejected_and_comes_back_after_a_trial() -> None:
    both = first, _ = states(0, 9)
    ejector = ejected(both, 0, now=10.0)

    assert choose(both, 10.1) == 1
    assert not ejector.try_again(first, 10.1)
    assert choose(both, 10.1 + REST) == 0
    assert ejector.try_again(first, 10.1 + REST)
    assert choose(both, 10.1 + REST) == 1, "one request at a time"
    assert not ejector.try_again(first, 10.1 + REST)
    assert not ejector.answered(first, 16.0, server_error=False, is_trial=True)
    assert not first.is_ejected
    assert choose(both, 16.0) == 0
    ejector.completed(first, 16.0)
    assert not first.is_troubled


def test_a_trial_that_says_nothing_is_followed_by_another() -> None:
    both = first, _ = states(0, 9)
    ejector = ejected(both, 0)
    assert ejector.try_again(first, REST)
    ejector.told_nothing(first)
    assert ejector.try_again(first, REST)


def test_rests_grow_with_each_ejection_in_a_row_and_shrink_step_by_step() -> None:
    both = first, _ = states(0, 0)
    ejector, now, rests = ejected(both, 0), 0.0, [REST]
    for _ in range(3):
        now = first.ejected_until
        assert ejector.try_again(first, now)
        assert ejector.failed(first, now, is_trial=True)
        rests.append(first.ejected_until - now)
    assert rests == [5, 10, 20, 40]

    now = first.ejected_until
    assert ejector.try_again(first, now)
    ejector.answered(first, now, server_error=False, is_trial=True)
    assert first.ejections_in_a_row == 3
    ejector.completed(first, now + 1)
    assert first.ejections_in_a_row == 3
    steps = []
    while first.is_troubled:
        now += REST
        ejector.completed(first, now)
        steps.append(first.ejections_in_a_row)
    assert steps == [2, 1, 0]


@given(st.integers(1, 10_000), st.floats(0.001, 1000), st.floats(1, 100))
def test_no_rest_is_longer_than_its_bound_or_shorter_than_the_one_before(
    ejections: int, first: float, factor: float
) -> None:
    rules = Ejection(rest_seconds=first, rest_seconds_max=first * factor)

    rest = rest_seconds(ejections, rules)

    assert first <= rest <= first * factor
    assert rest <= rest_seconds(ejections + 1, rules)


def test_what_began_before_an_ejection_changes_nothing() -> None:
    both = first, _ = states(0, 0)
    ejector = ejected(both, 0)
    for now in (1.0, REST + 1):
        assert not ejector.failed(first, now, is_trial=False)
        assert not ejector.answered(first, now, server_error=False, is_trial=False)
        ejector.completed(first, now)
    assert (first.is_ejected, first.ejections_in_a_row, first.ejected_until) == (True, 1, REST)


def test_a_success_in_between_begins_the_row_anew() -> None:
    both = first, _ = states(0, 0)
    ejector = Ejector(both, RULES)
    for _ in range(5):
        assert not ejector.failed(first, 0.0, is_trial=False)
        assert not ejector.failed(first, 0.0, is_trial=False)
        ejector.completed(first, 0.0)
    assert not first.is_ejected
    assert not first.is_troubled


def test_server_errors_in_a_row_eject_only_if_they_are_to() -> None:
    both = first, _ = states(0, 0)
    ejector = Ejector(both, RULES)
    for _ in range(50):
        assert not ejector.answered(first, 0.0, server_error=True, is_trial=False)
    ejector = Ejector(both, Ejection(after_5xx=2))
    assert not ejector.answered(first, 0.0, server_error=True, is_trial=False)
    assert not ejector.answered(first, 0.0, server_error=False, is_trial=False)
    assert not ejector.answered(first, 0.0, server_error=True, is_trial=False)
    assert ejector.answered(first, 0.0, server_error=True, is_trial=False)
    assert ejector.try_again(first, REST)
    assert ejector.answered(first, REST, server_error=True, is_trial=True)
    assert first.ejections_in_a_row == 2


@pytest.mark.parametrize(
    ("endpoints", "percent", "most"),
    [(1, 100, 0), (2, 100, 1), (2, 10, 1), (2, 0, 0), (10, 100, 9), (10, 30, 3), (10, 39, 3)],
)
def test_never_all_endpoints_are_ejected(endpoints: int, percent: int, most: int) -> None:
    assert ejected_max(endpoints, Ejection(ejected_percent_max=percent)) == most


@given(
    st.integers(1, 6),
    st.integers(0, 100),
    st.integers(0, 3),
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from("fstxn"), st.floats(0, 20)), max_size=120
    ),
)
def test_whatever_happens_some_endpoint_takes_requests(
    count: int, percent: int, after_5xx: int, events: list[tuple[int, str, float]]
) -> None:
    rules = Ejection(ejected_percent_max=percent, after_5xx=after_5xx)
    known = states(*[0] * count)
    ejector, now = Ejector(known, rules), 0.0
    for index, event, later in events:
        now += later
        state = known[index % count]
        is_trial = ejector.try_again(state, now)
        match event:
            case "f":
                ejector.failed(state, now, is_trial=is_trial)
            case "x":
                ejector.answered(state, now, server_error=True, is_trial=is_trial)
            case "s":
                ejector.answered(state, now, server_error=False, is_trial=is_trial)
                ejector.completed(state, now)
            case "t":
                ejector.failed(state, now, is_trial=False)
        if is_trial:
            ejector.told_nothing(state)
        assert ejector.ejected <= ejected_max(count, rules)
        assert any(not other.is_ejected for other in known)
        chosen = choose(known, now)
        assert chosen is not None
        assert known[chosen].takes_requests(now)
        assert all(other.is_troubled for other in known if other.is_ejected)


def test_ejected_endpoints_are_better_than_none() -> None:
    both = states(0, 0)
    ejected(both, 0)

    assert choose(both, 1.0, frozenset({1})) == 0
