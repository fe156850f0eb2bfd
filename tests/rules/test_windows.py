"""Windows: A4, A5, N7; defects T6 (month), T23, T30, T40 (a month has all its days)."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import windows
from gateway.rules.units import MICRO
from gateway.rules.windows import NEVER_MICRO, Period, Window, WindowKind, period_at

ZONES = (
    "UTC",
    "Asia/Seoul",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "America/New_York",
    "America/Nuuk",
    "America/Scoresbysund",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Africa/Monrovia",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kwajalein",
)
LOCAL_KINDS = (WindowKind.HOUR, WindowKind.DAY, WindowKind.CALENDAR_MONTH)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

zones = st.sampled_from(ZONES)
instants = st.integers(40 * 86_400 * MICRO, NEVER_MICRO - 40 * 86_400 * MICRO)


def micro(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def transitions(zone: str) -> list[int]:
    """Whole seconds, 1970 to 2037, at which a zone's offset changes; found by bisection."""
    tz = ZoneInfo(zone)

    def offset(at: int) -> timedelta | None:
        return (EPOCH + timedelta(seconds=at)).astimezone(tz).utcoffset()

    found = []
    step = 5 * 86_400
    for low in range(step, 2_145_000_000, step):
        a, b = low, low + step
        if offset(a) == offset(b):
            continue
        while b - a > 1:
            middle = (a + b) // 2
            a, b = (a, middle) if offset(middle) != offset(a) else (middle, b)
        found.append(b)
    return found


@st.composite
def near_transitions(draw: st.DrawFn) -> tuple[str, int]:
    zone = draw(zones.filter(lambda name: TRANSITIONS[name]))
    around = draw(st.sampled_from(TRANSITIONS[zone]))
    return zone, around * MICRO + draw(st.integers(-30 * 3_600 * MICRO, 30 * 3_600 * MICRO))


TRANSITIONS = {zone: transitions(zone) for zone in ZONES}
places = st.one_of(st.tuples(zones, instants), near_transitions())


@given(places, st.sampled_from(LOCAL_KINDS))
def test_periods_tile_time_and_contain_their_instant(
    place: tuple[str, int], kind: WindowKind
) -> None:
    """T30: no gap, no overlap; the neighbour begins where this one ends, with another id."""
    zone, at_micro = place
    window = Window(kind, timezone=zone)

    period = period_at(window, at_micro)
    after = period_at(window, period.end_micro)
    before = period_at(window, period.start_micro - 1)

    assert period.start_micro <= at_micro < period.end_micro
    assert period_at(window, period.start_micro) == period
    assert period_at(window, period.end_micro - 1) == period
    assert after.start_micro == period.end_micro
    assert before.end_micro == period.start_micro
    assert len({before.id, period.id, after.id}) == 3


@given(places, st.sampled_from(LOCAL_KINDS), st.integers(-400 * 86_400, 400 * 86_400))
def test_two_instants_share_an_id_exactly_when_they_share_a_period(
    place: tuple[str, int], kind: WindowKind, distance_seconds: int
) -> None:
    zone, at_micro = place
    window = Window(kind, timezone=zone)
    other_micro = min(max(at_micro + distance_seconds * MICRO, 0), NEVER_MICRO - 1)

    one, two = period_at(window, at_micro), period_at(window, other_micro)

    assert (one.id == two.id) == (one == two)


@given(places)
def test_a_day_begins_at_the_first_instant_of_its_date(place: tuple[str, int]) -> None:
    zone, at_micro = place
    tz = ZoneInfo(zone)

    period = period_at(Window(WindowKind.DAY, timezone=zone), at_micro)
    first = (EPOCH + timedelta(microseconds=period.start_micro)).astimezone(tz)
    last_before = (EPOCH + timedelta(microseconds=period.start_micro - 1)).astimezone(tz)

    assert first.date().isoformat() == period.id
    assert last_before.date() < first.date()


@pytest.mark.parametrize("zone", ZONES)
def test_every_day_of_a_month_lies_in_that_month(zone: str) -> None:
    """T23, T40: months and days are cut at the same instants, a month has all its days."""
    at_micro = micro("2011-11-15T12:00:00+00:00")
    for _ in range(14):
        month = period_at(Window(WindowKind.CALENDAR_MONTH, timezone=zone), at_micro)
        day = period_at(Window(WindowKind.DAY, timezone=zone), month.start_micro)
        assert day.start_micro == month.start_micro
        assert day.id == f"{month.id}-01"
        last = period_at(Window(WindowKind.DAY, timezone=zone), month.end_micro - 1)
        assert last.end_micro == month.end_micro
        assert last.id.startswith(month.id)
        at_micro = month.end_micro


@given(st.integers(1, 100_000), st.integers(0, NEVER_MICRO - 1))
def test_fixed_seconds_are_counted_from_the_epoch(seconds: int, at_micro: int) -> None:
    """A4: index = floor(unix / window)."""
    period = period_at(Window(WindowKind.SECONDS, seconds=seconds), at_micro)

    assert period.id == str(at_micro // MICRO // seconds)
    assert period.start_micro <= at_micro < period.end_micro
    assert period.end_micro - period.start_micro == seconds * MICRO


def test_a_period_without_end_is_all_of_time() -> None:
    period = period_at(Window(WindowKind.NONE), micro("2026-11-20T00:00:00+00:00"))

    assert period == Period("all", 0, NEVER_MICRO)


@pytest.mark.parametrize(
    ("kind", "zone", "at", "expected"),
    [
        (
            WindowKind.CALENDAR_MONTH,
            "UTC",
            "2026-11-20T00:00:00+00:00",
            ("2026-11", "2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),
        ),
        (
            WindowKind.CALENDAR_MONTH,
            "Asia/Seoul",
            "2026-10-31T15:00:00+00:00",
            ("2026-11", "2026-11-01T00:00:00+09:00", "2026-12-01T00:00:00+09:00"),
        ),
        (
            WindowKind.DAY,
            "Asia/Seoul",
            "2026-11-20T14:59:59.999999+00:00",
            ("2026-11-20", "2026-11-20T00:00:00+09:00", "2026-11-21T00:00:00+09:00"),
        ),
        (  # 00:00 does not exist: the clock went from 23:59:59 to 01:00
            WindowKind.DAY,
            "America/Sao_Paulo",
            "2018-11-04T12:00:00-02:00",
            ("2018-11-04", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"),
        ),
        (  # 00:00 happens twice: the day begins with the first
            WindowKind.DAY,
            "America/Havana",
            "2025-11-02T00:30:00-05:00",
            ("2025-11-02", "2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00"),
        ),
        (  # at 00:01 the clock went back to 23:01 of the former day
            WindowKind.DAY,
            "America/St_Johns",
            "2010-11-06T23:30:00-03:30",
            ("2010-11-07", "2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30"),
        ),
        (  # 30 December 2011 never was
            WindowKind.DAY,
            "Pacific/Apia",
            "2011-12-29T23:59:59-10:00",
            ("2011-12-29", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"),
        ),
        (
            WindowKind.DAY,
            "Africa/Cairo",
            "2024-04-26T12:00:00+03:00",
            ("2024-04-26", "2024-04-26T01:00:00+03:00", "2024-04-27T00:00:00+03:00"),
        ),
        (  # the second 01:xx of the night
            WindowKind.HOUR,
            "America/New_York",
            "2026-11-01T01:30:00-05:00",
            ("2026-11-01T01-0500", "2026-11-01T01:00:00-05:00", "2026-11-01T02:00:00-05:00"),
        ),
        (  # half an hour is repeated
            WindowKind.HOUR,
            "Australia/Lord_Howe",
            "2026-04-05T01:45:00+10:30",
            ("2026-04-05T01+1030", "2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30"),
        ),
        (  # half an hour is skipped
            WindowKind.HOUR,
            "Australia/Lord_Howe",
            "2026-10-04T02:45:00+11:00",
            ("2026-10-04T02+1100", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00"),
        ),
        (  # the offset changes one minute into the hour: that minute is a period of its own
            WindowKind.HOUR,
            "America/St_Johns",
            "2010-11-07T00:00:30.5-02:30",
            ("2010-11-07T00-0230", "2010-11-07T00:00:00-02:30", "2010-11-07T00:01:00-02:30"),
        ),
        (
            WindowKind.HOUR,
            "America/St_Johns",
            "2010-11-06T23:30:00.5-03:30",
            ("2010-11-06T23-0330", "2010-11-06T23:01:00-03:30", "2010-11-07T00:00:00-03:30"),
        ),
        (
            WindowKind.HOUR,
            "Asia/Kathmandu",
            "2026-11-20T00:20:00+00:00",
            ("2026-11-20T06+0545", "2026-11-20T06:00:00+05:45", "2026-11-20T07:00:00+05:45"),
        ),
    ],
)
def test_known_periods(
    kind: WindowKind, zone: str, at: str, expected: tuple[str, str, str]
) -> None:
    name, start, end = expected

    assert period_at(Window(kind, timezone=zone), micro(at)) == Period(
        name, micro(start), micro(end)
    )


def test_midnight_inside_a_gap_begins_the_day_at_the_end_of_the_gap() -> None:
    """Toronto's clocks went from 23:30 to 00:30; since 1970 no zone did so, but one may."""
    start_micro = windows._date_start_micro(ZoneInfo("America/Toronto"), date(1919, 3, 31))

    assert start_micro == micro("1919-03-31T00:30:00-04:00")


@pytest.mark.parametrize("at_micro", [-1, NEVER_MICRO])
def test_an_instant_that_can_not_be_counted_is_refused(at_micro: int) -> None:
    with pytest.raises(ValueError, match="outside 1970 to 2100"):
        period_at(Window(WindowKind.NONE), at_micro)


def test_a_window_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="has no periods"):
        period_at(Window(WindowKind.SECONDS), 0)
