"""Which endpoint takes the next request. Pure: states and the time in, a choice out.

Least pending wins, in turn where several are tied. An endpoint that fails several requests in a row
is ejected: it rests, longer each time, then is on trial with one request at a time. One that fails
its health checks is left alone until it passes them. If nothing else is left, all are used.
Source: design section 10; requirement C12.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.snapshot import Ejection, Endpoint, HealthCheck

DOUBLINGS_MAX: Final = 30
"""Two to this power times any rest is longer than any bound of it."""


@dataclass(slots=True)
class EndpointState:
    """What a worker knows of an endpoint; times are the event loop's.

    Attributes:
        index: Of the endpoint among those of its upstream.
        pending: Requests under way there, those that connect included.
        ejections_in_a_row: Steps up to here; each one ago doubles the next rest.
        is_ejected: Rests until ``ejected_until``, then is on trial until a request succeeds.
        is_on_trial: Whether the one request of a trial is under way.
        is_troubled: Whether a success would change anything.
        is_unwell: Whether health checks say so.
    """

    endpoint: Endpoint
    index: int = 0
    pending: int = 0
    failures_in_a_row: int = 0
    server_errors_in_a_row: int = 0
    ejections_in_a_row: int = 0
    ejected_until: float = 0.0
    eased_at: float = 0.0
    is_ejected: bool = False
    is_on_trial: bool = False
    is_troubled: bool = False
    is_unwell: bool = False
    probes_in_a_row: int = 0

    def takes_requests(self, now: float) -> bool:
        """Return whether it is to be preferred to endpoints that don't."""
        if self.is_unwell:
            return False
        return not self.is_ejected or (self.ejected_until <= now and not self.is_on_trial)

    def probed(self, *, well: bool, check: HealthCheck) -> bool:
        """Note a health check; return whether it changed what is thought of the endpoint."""
        if well is not self.is_unwell:
            self.probes_in_a_row = 0
            return False
        self.probes_in_a_row += 1
        if self.probes_in_a_row < (check.well_after if well else check.unwell_after):
            return False
        self.probes_in_a_row = 0
        self.is_unwell = not well
        return True


def choose(
    states: Sequence[EndpointState],
    now: float,
    tried: frozenset[int] = frozenset(),
    turn: int = 0,
) -> int | None:
    """Return the index of the endpoint to use, None if all have been tried.

    Args:
        states: All endpoints of the upstream.
        now: The event loop's time.
        tried: Indices that already failed for this request.
        turn: Whose turn it is where several are tied: the index to begin at.
    """
    count = len(states)
    preferred: EndpointState | None = None
    other: EndpointState | None = None
    preferred_index = other_index = 0
    for step in range(count):
        index = (turn + step) % count
        if index in tried:
            continue
        state = states[index]
        if state.takes_requests(now):
            if preferred is None or state.pending < preferred.pending:
                preferred, preferred_index = state, index
        elif other is None or state.pending < other.pending:
            other, other_index = state, index
    if preferred is not None:
        return preferred_index
    return None if other is None else other_index


def ejected_max(endpoints: int, rules: Ejection) -> int:
    """Return how many endpoints may be ejected at once: one at least, never all."""
    if rules.ejected_percent_max == 0:
        return 0
    return min(endpoints - 1, max(1, endpoints * rules.ejected_percent_max // 100))


def rest_seconds(ejections_in_a_row: int, rules: Ejection) -> float:
    """Return how long the last of so many ejections in a row lasts."""
    doublings = min(ejections_in_a_row - 1, DOUBLINGS_MAX)
    return min(rules.rest_seconds * 2.0**doublings, rules.rest_seconds_max)


class Ejector:
    """Notes how requests end and ejects endpoints accordingly.

    Only a trial decides what becomes of an ejected endpoint: other requests to it began before, or
    had no other choice.
    """

    def __init__(self, states: Sequence[EndpointState], rules: Ejection) -> None:
        self._states = states
        self._rules = rules
        self._ejected_max = ejected_max(len(states), rules)

    @property
    def ejected(self) -> int:
        """How many endpoints are ejected now, those on trial included."""
        return sum(state.is_ejected for state in self._states)

    def try_again(self, state: EndpointState, now: float) -> bool:
        """Return whether the next request is an ejected endpoint's trial; it is under way then."""
        if not state.is_ejected or state.is_on_trial or now < state.ejected_until:
            return False
        state.is_on_trial = True
        return True

    def answered(
        self, state: EndpointState, now: float, *, server_error: bool, is_trial: bool
    ) -> bool:
        """Note the head of an answer; return whether the endpoint was ejected for it."""
        if server_error and self._rules.after_5xx:
            if state.is_ejected:
                return is_trial and self._eject(state, now)
            state.server_errors_in_a_row += 1
            state.is_troubled = True
            return state.server_errors_in_a_row >= self._rules.after_5xx and self._eject(state, now)
        state.server_errors_in_a_row = 0
        if is_trial:
            state.is_ejected = state.is_on_trial = False
            self._ease(state, now)
        return False

    def completed(self, state: EndpointState, now: float) -> None:
        """Note a whole answer of an endpoint that is troubled."""
        if state.is_ejected:
            return
        state.failures_in_a_row = 0
        if state.ejections_in_a_row and now >= state.eased_at + self._rules.rest_seconds:
            self._ease(state, now)
        state.is_troubled = bool(state.ejections_in_a_row or state.server_errors_in_a_row)

    def failed(self, state: EndpointState, now: float, *, is_trial: bool) -> bool:
        """Note a failure to connect or to answer; return whether it was ejected for it."""
        if state.is_ejected:
            return is_trial and self._eject(state, now)
        if not self._ejected_max:
            return False
        state.failures_in_a_row += 1
        state.is_troubled = True
        return state.failures_in_a_row >= self._rules.failures and self._eject(state, now)

    def told_nothing(self, state: EndpointState) -> None:
        """End a trial that ended for other reasons; the next request is another."""
        state.is_on_trial = False

    def _ease(self, state: EndpointState, now: float) -> None:
        state.ejections_in_a_row = max(0, state.ejections_in_a_row - 1)
        state.eased_at = now

    def _eject(self, state: EndpointState, now: float) -> bool:
        if not state.is_ejected and self.ejected >= self._ejected_max:
            return False
        state.ejections_in_a_row += 1
        state.ejected_until = now + rest_seconds(state.ejections_in_a_row, self._rules)
        state.is_ejected = state.is_troubled = True
        state.is_on_trial = False
        state.failures_in_a_row = state.server_errors_in_a_row = 0
        return True
