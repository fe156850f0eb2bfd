"""C12: a circuit opens when too many of the last requests failed, and closes when one succeeds."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.snapshot import CircuitRules
from gateway.proxy.circuit import PROBED_AGAIN_SECONDS, Circuit

RULES = CircuitRules(
    frozenset({"connect"}), percent=50, requests=4, window_seconds=10.0, pause_seconds=5.0
)


def opened(now: float = 0.0, rules: CircuitRules = RULES) -> Circuit:
    circuit = Circuit(rules)
    told = [circuit.note(now, failed=True) for _ in range(rules.requests)]
    assert told == [False] * (rules.requests - 1) + [True]
    return circuit


def test_it_opens_at_its_share_of_the_last_requests() -> None:
    circuit = Circuit(RULES)
    outcomes = [True, False, False, False, True, False, True]
    assert [circuit.note(0.0, failed=failed) for failed in outcomes] == [*[False] * 6, True]
    assert circuit.is_open


def test_what_is_long_ago_is_forgotten() -> None:
    circuit = Circuit(RULES)
    for now in (0.0, 4.0, 8.0, 12.0, 16.0, 20.0):
        assert not circuit.note(now, failed=True)
    assert not circuit.is_open
    assert circuit.note(20.0, failed=True)


def test_open_it_refuses_and_then_lets_one_at_a_time_through() -> None:
    circuit = opened(now=100.0)
    assert circuit.wait_seconds(100.0) == 5.0
    assert circuit.wait_seconds(104.0) == 1.0
    assert circuit.wait_seconds(105.0) == 0.0
    circuit.probe()
    assert circuit.wait_seconds(105.0) == PROBED_AGAIN_SECONDS
    circuit.told_nothing()
    assert circuit.wait_seconds(105.0) == 0.0
    circuit.probe()
    assert not circuit.probed(106.0, failed=True)
    assert circuit.wait_seconds(106.0) == 5.0
    circuit.probe()
    assert circuit.probed(112.0, failed=False)
    assert not circuit.is_open
    assert circuit.wait_seconds(112.0) == 0.0
    assert not circuit.note(112.0, failed=True), "the row begins anew"


def test_it_closes_after_so_many_good_probes_in_a_row() -> None:
    circuit = opened(rules=CircuitRules(frozenset(), requests=1, close_after=2))
    for failed, closes in ((False, False), (True, False), (False, False), (False, True)):
        circuit.probe()
        assert circuit.probed(9.0, failed=failed) is closes


def test_requests_that_began_before_it_opened_change_nothing() -> None:
    circuit = opened()
    assert not circuit.note(1.0, failed=False)
    assert not circuit.note(1.0, failed=True)
    assert circuit.wait_seconds(1.0) == 4.0


@given(
    st.integers(1, 100),
    st.integers(1, 8),
    st.lists(st.tuples(st.booleans(), st.floats(0, 4)), max_size=80),
)
def test_it_opens_exactly_when_the_last_requests_say_so(
    percent: int, requests: int, events: list[tuple[bool, float]]
) -> None:
    """Against a plain recount of everything that ever happened."""
    rules = CircuitRules(frozenset(), percent, requests, window_seconds=10.0)
    circuit, now = Circuit(rules), 0.0
    seen: list[tuple[float, bool]] = []
    for failed, later in events:
        now += later
        seen.append((now, failed))
        last = [was for at, was in seen[-requests:] if at > now - 10.0]
        is_due = failed and len(last) == requests and sum(last) * 100 >= percent * requests
        assert circuit.note(now, failed=failed) is is_due
        if is_due:
            return
