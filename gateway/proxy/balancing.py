"""Which endpoint takes the next request. Pure: states and the time in, a choice out.

Least pending wins; an endpoint that failed to connect several times in a row is left alone for a
while, one that fails its health checks until it passes them, unless all are.
Source: design section 10; requirement C12.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config.snapshot import Endpoint, HealthCheck

FAILURES_TO_EJECT = 3
"""Fewer would eject on one unlucky restart, more would send too many callers into a dead end."""
EJECTED_SECONDS = 5.0


@dataclass(slots=True)
class EndpointState:
    """What a worker knows of an endpoint; times are the event loop's."""

    endpoint: Endpoint
    pending: int = 0
    failures_in_a_row: int = 0
    ejected_until: float = 0.0
    is_unwell: bool = False
    probes_in_a_row: int = 0

    def succeeded(self) -> None:
        """Note that the endpoint answered."""
        self.failures_in_a_row = 0

    def failed(self, now: float) -> None:
        """Note a failure to connect or to answer at all."""
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= FAILURES_TO_EJECT:
            self.ejected_until = now + EJECTED_SECONDS

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
    states: Sequence[EndpointState], now: float, tried: frozenset[int] = frozenset()
) -> int | None:
    """Return the index of the endpoint to use, None if all have been tried.

    Args:
        states: All endpoints of the upstream.
        now: The event loop's time.
        tried: Indices that already failed for this request.
    """
    untried = [index for index in range(len(states)) if index not in tried]
    healthy = [
        index
        for index in untried
        if states[index].ejected_until <= now and not states[index].is_unwell
    ]
    candidates = healthy or untried
    if not candidates:
        return None
    return min(candidates, key=lambda index: (states[index].pending, index))
