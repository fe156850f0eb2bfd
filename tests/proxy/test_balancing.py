"""C12: least pending wins; what fails in a row is left alone for a while, unless all do."""

from gateway.config.snapshot import Endpoint
from gateway.proxy.balancing import EJECTED_SECONDS, EndpointState, choose


def states(*pending: int) -> list[EndpointState]:
    endpoint = Endpoint("h", 1, tls=False, authority=b"h:1")
    return [EndpointState(endpoint, pending=number) for number in pending]


def test_least_pending_is_chosen() -> None:
    assert choose(states(3, 1, 2), 0.0) == 1
    assert choose(states(1, 1), 0.0) == 0


def test_what_was_tried_is_not_tried_again() -> None:
    assert choose(states(0, 5), 0.0, frozenset({0})) == 1
    assert choose(states(0, 5), 0.0, frozenset({0, 1})) is None


def test_failing_endpoint_is_ejected_and_comes_back() -> None:
    both = states(0, 9)
    for _ in range(3):
        both[0].failed(10.0)

    assert choose(both, 10.1) == 1
    assert choose(both, 10.1 + EJECTED_SECONDS) == 0
    both[0].succeeded()
    assert both[0].failures_in_a_row == 0


def test_ejected_endpoints_are_better_than_none() -> None:
    (one,) = only = states(0)
    for _ in range(3):
        one.failed(0.0)

    assert choose(only, 1.0) == 0
