"""Fixed point: no float anywhere, unlimited is a type (T37)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.units import (
    MICRO,
    QUANTITY_UNITS_MAX,
    UNLIMITED,
    Unlimited,
    ceil_units,
    micro_from_text,
    text_from_micro,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("2", 2 * MICRO),
        ("0.25", 250_000),
        ("0.000001", 1),
        ("007", 7 * MICRO),
        ("1.10", 1_100_000),
        ("9000000000", QUANTITY_UNITS_MAX * MICRO),
    ],
)
def test_a_plain_decimal_is_read_exactly(text: str, expected: int) -> None:
    assert micro_from_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "1.", ".5", "-1", "+1", "1e3", " 1", "1 ", "1_0", "0x1", "1.2.3", "0.0000001"),
        *("NaN", "Infinity", "\u0661", "\u00b2", "9000000000.000001", "9000000001", "12345678901"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"plain decimal|larger than"):
        micro_from_text(text)


@given(st.integers(0, QUANTITY_UNITS_MAX * MICRO))
def test_text_and_micro_units_are_inverse(value_micro: int) -> None:
    assert micro_from_text(text_from_micro(value_micro)) == value_micro


@pytest.mark.parametrize(
    ("value_micro", "text"), [(0, "0"), (1_500_000, "1.5"), (100 * MICRO, "100"), (-1, "-0.000001")]
)
def test_text_is_the_shortest_literal(value_micro: int, text: str) -> None:
    assert text_from_micro(value_micro) == text


@given(st.integers(0, 10**16))
def test_units_are_rounded_up(value_micro: int) -> None:
    exact = Decimal(value_micro) / MICRO
    assert 0 <= ceil_units(value_micro) - exact < 1


def test_unlimited_is_no_number() -> None:
    """T37: -1 as "unlimited" was always over quota; a type can't be compared by mistake."""
    assert UNLIMITED is Unlimited.UNLIMITED
    with pytest.raises(TypeError):
        assert UNLIMITED < 1  # type: ignore[operator]
