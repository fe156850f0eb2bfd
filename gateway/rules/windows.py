"""Windows tile time: every instant lies in exactly one period, and the end is the real reset.

Source: design, "Policies: kinds, windows, actions"; requirements A4, A5, N7.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Final, assert_never
from zoneinfo import ZoneInfo, reset_tzpath

from gateway.rules.units import MICRO


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
    ``2026-11-20T13+0900`` for an hour, the window index for fixed seconds, ``all`` for a period
    without end. ``end_micro`` of a period without end is ``NEVER_MICRO``.
    """

    id: str
    start_micro: int
    end_micro: int


NEVER_MICRO: Final = 4_102_444_800_000_000
"""2100-01-01: later than anything that is counted, small enough for every store's clock."""

# Zones come from the tzdata package, which is locked: two machines must cut months alike.
reset_tzpath(())

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MICRO: Final = timedelta(microseconds=1)
_ONE_DAY: Final = timedelta(days=1)
_HOUR_MICRO: Final = 3_600 * MICRO


def period_at(window: Window, at_micro: int) -> Period:
    """Return the period of ``window`` that contains an instant.

    Periods tile time without gap or overlap, DST included. A day or month begins at the first
    instant whose local date is its date: where local midnight does not exist that is the end of
    the gap, where it happens twice the first one; what the clock then repeats of the former date
    belongs to the new period. An hour is an hour of the local clock under one UTC offset: where
    the offset changes inside it, it is two periods.

    Args:
        window: Kind, length and zone.
        at_micro: Microseconds since the Unix epoch, by the store's clock.

    Raises:
        ValueError: the instant lies before 1970 or not before 2100, or a length below one second.

    Source: design, "Policies: kinds, windows, actions"; requirements A4, A5, N7.
    """
    if not 0 <= at_micro < NEVER_MICRO:
        raise ValueError(f"an instant outside 1970 to 2100 can't be counted: {at_micro}")
    match window.kind:
        case WindowKind.SECONDS:
            return _seconds_period(window.seconds, at_micro)
        case WindowKind.HOUR:
            return _hour_period(ZoneInfo(window.timezone), at_micro)
        case WindowKind.DAY:
            return _date_period(ZoneInfo(window.timezone), at_micro, months=False)
        case WindowKind.CALENDAR_MONTH:
            return _date_period(ZoneInfo(window.timezone), at_micro, months=True)
        case WindowKind.NONE:
            return Period("all", 0, NEVER_MICRO)
        case _:
            assert_never(window.kind)


def _seconds_period(seconds: int, at_micro: int) -> Period:
    if seconds < 1:
        raise ValueError(f"a window of {seconds} seconds has no periods")
    length_micro = seconds * MICRO
    index = at_micro // length_micro
    return Period(str(index), index * length_micro, (index + 1) * length_micro)


def _hour_period(zone: ZoneInfo, at_micro: int) -> Period:
    offset_micro = _offset_micro(zone, at_micro)
    start_micro = at_micro - (at_micro + offset_micro) % _HOUR_MICRO
    end_micro = start_micro + _HOUR_MICRO
    name = f"{_local(zone, at_micro):%Y-%m-%dT%H%z}"
    if _offset_micro(zone, start_micro) != offset_micro:
        start_micro = _first_second(
            start_micro, at_micro, lambda at: _offset_micro(zone, at) == offset_micro
        )
    if _offset_micro(zone, end_micro - MICRO) != offset_micro:
        end_micro = _first_second(
            at_micro, end_micro, lambda at: _offset_micro(zone, at) != offset_micro
        )
    return Period(name, start_micro, end_micro)


def _date_period(zone: ZoneInfo, at_micro: int, *, months: bool) -> Period:
    day = _local(zone, at_micro).date()
    if months:
        day = day.replace(day=1)
    following = _following(day, months=months)
    end_micro = _date_start_micro(zone, following)
    # The clock was put back over midnight: what it repeats is already the next period's.
    while end_micro <= at_micro:
        day, following = following, _following(following, months=months)
        end_micro = _date_start_micro(zone, following)
    name = day.isoformat()
    return Period(name[:7] if months else name, _date_start_micro(zone, day), end_micro)


def _following(day: date, *, months: bool) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) if months else day + _ONE_DAY


def _date_start_micro(zone: ZoneInfo, day: date) -> int:
    """Return the first instant whose local date is ``day`` (or later, if the zone skipped it)."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    late_micro = _instant_micro(midnight)
    if _local(zone, late_micro).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return late_micro
    # Midnight lies in a gap (PEP 495): read with the offset before the gap it comes no earlier
    # than the gap's instant, read with the offset after it no later.
    early_micro = _instant_micro(midnight.replace(fold=1))
    return _first_second(early_micro, late_micro, lambda at: _local(zone, at).date() >= day)


def _local(zone: ZoneInfo, at_micro: int) -> datetime:
    return (_EPOCH + timedelta(microseconds=at_micro)).astimezone(zone)


def _instant_micro(local: datetime) -> int:
    return (local - _EPOCH) // _ONE_MICRO


def _offset_micro(zone: ZoneInfo, at_micro: int) -> int:
    offset = _local(zone, at_micro).utcoffset()
    assert offset is not None
    return offset // _ONE_MICRO


def _first_second(low_micro: int, high_micro: int, holds: Callable[[int], bool]) -> int:
    """Return the first whole second in (low, high] from which on ``holds`` is true.

    Offsets change at whole seconds, at most once within the spans that are searched here.
    """
    low, high = low_micro // MICRO, -(-high_micro // MICRO)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle * MICRO):
            high = middle
        else:
            low = middle
    return high * MICRO
