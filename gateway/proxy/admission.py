"""What clients may hold: connections of one address, and the time of a body. Pure.

Source: design section 10; requirement X1.
"""


class Addresses:
    """How many connections each client address has, where that is bounded."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def enter(self, address: str, bound: int) -> bool:
        """Count a connection; return whether there was room for it."""
        count = self.counts.get(address, 0)
        if count >= bound:
            return False
        self.counts[address] = count + 1
        return True

    def count(self, address: str) -> int:
        """Return how many connections of an address are counted."""
        return self.counts.get(address, 0)

    def leave(self, address: str) -> None:
        """Forget a connection that was counted."""
        left = self.counts[address] - 1
        if left:
            self.counts[address] = left
        else:
            del self.counts[address]


class BodyPace:
    """Whether the bodies of a connection come fast enough, on average.

    A body begins with what may come in the seconds of grace to its credit; it never has more, so
    that a fast beginning does not pay for hours of single bytes.
    """

    __slots__ = ("_at", "_bytes", "_credit_bytes", "_event_id")

    def __init__(self) -> None:
        self._event_id = ""
        self._at = 0.0
        self._bytes = 0
        self._credit_bytes = 0.0

    def stand_still(self, now: float) -> None:
        """Let the time since the last look pass unjudged: the client could not send."""
        self._at = now

    def is_too_slow(
        self,
        event_id: str,
        body_bytes: int,
        now: float,
        *,
        bytes_per_second: int,
        grace_seconds: float,
    ) -> bool:
        """Look at a body; return whether it has used up its credit.

        Args:
            event_id: Which body it is; another one begins anew.
            body_bytes: How much of it has come.
            now: The event loop's time.
            bytes_per_second: What is asked for; 0 asks for nothing.
            grace_seconds: See above.
        """
        credit_bytes_max = bytes_per_second * grace_seconds
        if event_id != self._event_id:
            self._event_id = event_id
            self._credit_bytes = credit_bytes_max
        else:
            came = self._credit_bytes + body_bytes - self._bytes
            self._credit_bytes = min(credit_bytes_max, came - bytes_per_second * (now - self._at))
        self._at = now
        self._bytes = body_bytes
        return self._credit_bytes < 0
