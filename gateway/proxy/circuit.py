"""When requests to a failing upstream are refused at once. Pure: outcomes and the time in.

Closed, it counts how the last requests ended; open, it lets nobody through for a pause and then one
request at a time, until so many of these in a row have succeeded.
Source: requirement C12; docs/operations.md.
"""

from collections import deque
from typing import Final

from gateway.config.snapshot import CircuitRules

PROBED_AGAIN_SECONDS: Final = 1.0
"""What those are told to wait who come while a probe is under way."""


class Circuit:
    """The circuit breaker of one upstream in one worker; times are the event loop's.

    Attributes:
        is_open: Whether requests are refused, but for probes.
        is_probing: Whether a probe is under way.
    """

    def __init__(self, rules: CircuitRules) -> None:
        self.rules = rules
        self.is_open = False
        self.is_probing = False
        self._open_until = 0.0
        self._good_probes = 0
        self._failures = 0
        self._ended: deque[tuple[float, bool]] = deque()
        """Instant and failure of the last requests, oldest first."""

    def wait_seconds(self, now: float) -> float:
        """Return how long a request is to stay away; 0 lets it through, as a probe if open."""
        if not self.is_open:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        return PROBED_AGAIN_SECONDS if self.is_probing else 0.0

    def note(self, now: float, *, failed: bool) -> bool:
        """Note how a request ended; return whether that opened the circuit."""
        if self.is_open:
            return False
        ended, rules = self._ended, self.rules
        ended.append((now, failed))
        self._failures += failed
        while len(ended) > rules.requests or ended[0][0] <= now - rules.window_seconds:
            self._failures -= ended.popleft()[1]
        if not failed or len(ended) < rules.requests:
            return False
        if self._failures * 100 < rules.percent * len(ended):
            return False
        self._open(now)
        return True

    def probe(self) -> None:
        """Note that a probe is under way."""
        self.is_probing = True

    def probed(self, now: float, *, failed: bool) -> bool:
        """Note how a probe ended; return whether that closed the circuit."""
        self.is_probing = False
        if failed:
            self._open(now)
            return False
        self._good_probes += 1
        if self._good_probes < self.rules.close_after:
            return False
        self.is_open = False
        return True

    def told_nothing(self) -> None:
        """End a probe that ended for other reasons; the next request is another."""
        self.is_probing = False

    def _open(self, now: float) -> None:
        self.is_open = True
        self.is_probing = False
        self._open_until = now + self.rules.pause_seconds
        self._good_probes = self._failures = 0
        self._ended.clear()
