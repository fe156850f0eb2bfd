"""Windows tile time: every instant lies in exactly one period, and the end is the real reset.

Source: design, "Policies: kinds, windows, actions"; requirements A4, A5, N7.
"""

from dataclasses import dataclass
from enum import Enum


class WindowKind(Enum):
    """How a limit's periods follow each other."""

    SECONDS = "seconds"
    """Fixed spans counted from the Unix epoch; the length is given beside the kind."""
    HOUR = "hour"
    DAY = "day"
    CALENDAR_MONTH = "calendar_month"
    NONE = "none"
    """One period that never ends."""


@dataclass(frozen=True, slots=True)
class Window:
    """A kind and, for ``SECONDS``, its length; calendar kinds follow ``timezone`` (IANA name)."""

    kind: WindowKind
    seconds: int = 0
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Period:
    """One tile: ``start_micro`` inclusive, ``end_micro`` exclusive.

    ``id`` names it in counter keys and records: ``2026-11`` for a month, ``2026-11-20`` for a day,
    the window index for fixed seconds, ``all`` for a period without end. ``end_micro`` of a period
    without end is ``NEVER_MICRO``.
    """

    id: str
    start_micro: int
    end_micro: int


NEVER_MICRO = 4_102_444_800_000_000
"""2100-01-01: later than anything that is counted, small enough for every store's clock."""
