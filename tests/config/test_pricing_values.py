"""Values that a schema can't judge: instants, zones, percentages, currencies' decimals."""

from decimal import Decimal

import pytest

from gateway.config.pricing_values import instant_micro, percent_micro, window_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.000001z", 1),
        ("2026-03-01T00:00:00Z", 1_772_323_200_000_000),
        ("2026-03-01T09:00:00+09:00", 1_772_323_200_000_000),
        ("2026-02-28T19:30:00.5-04:30", 1_772_323_200_500_000),
    ],
)
def test_an_instant_is_read_to_the_microsecond(text: str, expected: int) -> None:
    assert instant_micro(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01",
        "2026-03-01T00:00:00",
        "2026-03-01 00:00:00Z",
        "2026-03-01T00:00Z",
        "2026-03-01T00:00:00.1234567Z",
        "2026-02-29T00:00:00Z",
        "2026-03-01T24:01:00Z",
        "2026-03-01T00:00:00+25:00",
        "20260301T000000Z",
        "2026-W10-1T00:00:00Z",
    ],
)
def test_what_is_not_an_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="date-time"):
        instant_micro(text)


@pytest.mark.parametrize(
    ("percent", "expected"),
    [("0", 0), ("0.5", 500_000), ("1", 1_000_000), ("0.000001", 1), ("1e2", 100_000_000)],
)
def test_a_percentage_is_exact(percent: str, expected: int) -> None:
    """T8."""
    assert percent_micro(Decimal(percent)) == expected


@pytest.mark.parametrize("percent", ["-0.1", "1000.1", "0.0000001", "1e-400", "1e400"])
def test_a_percentage_that_is_not_exact_is_refused(percent: str) -> None:
    with pytest.raises(ValueError, match=r"between|decimals"):
        percent_micro(Decimal(percent))


def test_seconds_are_read_from_a_window() -> None:
    assert window_seconds("seconds(3600)") == 3_600
    assert window_seconds("calendar_month") == 0
