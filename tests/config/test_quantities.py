"""Numbers, durations, sizes and shares as people write them."""

from decimal import Decimal

import pytest

from gateway.config.quantities import (
    bytes_of,
    per_million_of,
    plain_number,
    positive_seconds_of,
    seconds_of,
    units_of,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1s", 1), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("1d", 86_400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("value", ["1", "s", "-1s", "1 s", "1w", 1, None, "1e3s"])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds_of(value)


@pytest.mark.parametrize("value", ["0s", "0ms", "0.000d", "1", None])
def test_what_lasts_no_time_is_refused(value: object) -> None:
    assert positive_seconds_of("1ms") == 0.001
    with pytest.raises(ValueError, match="duration"):
        positive_seconds_of(value)


@pytest.mark.parametrize(
    ("value", "size"), [(65_536, 65_536), ("64KiB", 65_536), ("10MB", 10_000_000), ("7", 7)]
)
def test_sizes(value: object, size: int) -> None:
    assert bytes_of(value) == size


@pytest.mark.parametrize("value", ["-1", "1.5MB", "MB", True, None, "1TB", "999999999999GiB"])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="size"):
        bytes_of(value)


def test_shares() -> None:
    assert per_million_of(1) == 1_000_000
    assert per_million_of(Decimal("0.05")) == 50_000
    with pytest.raises(ValueError, match="share"):
        per_million_of(2)


@pytest.mark.parametrize("value", [-1, 0, 1, 9_000_000_001])
def test_units_are_whole(value: int) -> None:
    assert units_of(value) == value


@pytest.mark.parametrize("value", [0.5, 1.0, "7", True, None, Decimal("1e2")])
def test_what_is_no_number_of_whole_units_is_refused_in_words(value: object) -> None:
    with pytest.raises(ValueError, match="whole units from 0 to 9000000000"):
        units_of(value)


@pytest.mark.parametrize(
    ("text", "read"),
    [("1.0", 1), ("1e2", 100), ("-0.0", 0), ("0.5", Decimal("0.5")), ("1e19", Decimal("1e19"))],
)
def test_a_number_without_a_fraction_is_an_integer(text: str, read: int | Decimal) -> None:
    number = plain_number(Decimal(text))

    assert (number, type(number)) == (read, type(read))
