"""Names for events: UUIDv7 (RFC 9562 5.7), made where every request passes.

The 12 bits behind the millisecond count its ids (RFC 9562 6.2, method 1); the last 62 are the
process's own, random and drawn anew about once a minute (6.4). Nothing may be entitled by knowing
an id: who has seen one can guess others.
Source: design section 8; docs/decisions/0020-own-event-ids.md.
"""

import os
from typing import Final

from gateway.clock import WallClock

COUNT_END: Final = 1 << 12
"""So many ids have room in a millisecond; the next one takes the name of the next millisecond."""
STEP_MS_MAX: Final = 10_000
"""A clock that goes back further is followed; a smaller step is waited out."""

SECOND_NS: Final = 1_000_000_000
_MS_NS: Final = 1_000_000
_HEX_1: Final = [f"{digit:x}" for digit in range(16)]
_HEX_2: Final = [f"{byte:02x}" for byte in range(256)]
_EPOCH_BITS: Final = 16
"""Of a millisecond's 48 bits, the lower ones, which change while the rest of the text is kept."""


class EventIds:
    """Makes ids: unique anywhere; of one process, later ones sort behind earlier ones.

    Args:
        clock: Asked once a second. A step back of more than ``STEP_MS_MAX`` breaks the order, never
            the uniqueness.
    """

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._zero_ms = 0
        self._holds_until_ns = 0
        self._last_ms = 0
        self._count = 0
        self._epoch = -1
        self._before = ""
        self._behind = ""

    def new(self, now_ns: int) -> str:
        """Return a new id.

        Args:
            now_ns: The stopwatch's time.
        """
        if now_ns >= self._holds_until_ns:
            self._zero_ms = self._clock.now_micro() // 1000 - now_ns // _MS_NS
            self._holds_until_ns = now_ns + SECOND_NS
        now_ms = self._zero_ms + now_ns // _MS_NS
        last_ms = self._last_ms
        if now_ms > last_ms:
            self._begin(now_ms)
        elif last_ms - now_ms > STEP_MS_MAX:
            self._epoch = -1  # what follows was named before, but for the random part
            self._begin(now_ms)
        else:
            self._count += 1
            if self._count == COUNT_END:
                self._begin(last_ms + 1)
        at_ms, count = self._last_ms, self._count
        return (
            f"{self._before}{_HEX_2[at_ms >> 8 & 255]}{_HEX_2[at_ms & 255]}"
            f"-7{_HEX_1[count >> 8]}{_HEX_2[count & 255]}{self._behind}"
        )

    def _begin(self, at_ms: int) -> None:
        """Begin a millisecond."""
        self._last_ms = at_ms
        self._count = 0
        epoch = at_ms >> _EPOCH_BITS
        if epoch != self._epoch:
            self._epoch = epoch
            own = int.from_bytes(os.urandom(8)) >> 2 | 1 << 63  # the variant: 0b10
            self._before = f"{epoch:08x}-"
            self._behind = f"-{own >> 48:04x}-{own & (1 << 48) - 1:012x}"
