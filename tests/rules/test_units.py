"""Fixed point: no float anywhere, unlimited is a type (T37)."""

from decimal import Decimal, localcontext

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

MAX_MICRO = QUANTITY_UNITS_MAX * MICRO
LARGE = 10_000_000
"""Characters of a text that would be a huge number if it were made."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("-0", 0), ("-0.000", 0), ("0e999999999", 0), ("0" * 400, 0),
        ("2", 2 * MICRO), ("0.25", 250_000), ("0.000001", 1), ("007", 7 * MICRO),
        ("1.10", 1_100_000), ("1e2", 100 * MICRO), ("1E+2", 100 * MICRO), ("1e-6", 1),
        ("2.50e-1", 250_000), ("1e002", 100 * MICRO), ("0.00000000009e10", 900_000),
        ("9000000000", MAX_MICRO), ("9e9", MAX_MICRO), ("9000000000.000000", MAX_MICRO),
        ("90000000000e-1", MAX_MICRO), ("0" * 400 + "9000000000", MAX_MICRO),
        ("9000000000" + "0" * 400 + "e-400", MAX_MICRO),
        ("0.30000000000000004", 300_001), ("12.3456789", 12_345_679), ("0.0000001", 1),
        ("1e-7", 1), ("1e-400", 1), ("1e-999999999", 1), ("1e-" + "9" * 400, 1),
        ("0.1" + "0" * 400 + "1", 100_001), ("0." + "3" * 400, 333_334),
        ("8999999999.9999991", MAX_MICRO), ("8589934592.000001", 8_589_934_592_000_001),
    ],
)  # fmt: skip
def test_a_number_is_read_exactly_and_its_rest_rounded_up(text: str, expected: int) -> None:
    assert micro_from_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "1.", ".5", "-1", "-1e-400", "+1", "+0", " 1", "1 ", "1_0", "0x1", "1.2.3"),
        *("NaN", "Infinity", "-Infinity", "inf", "1e", "1e+", "1e1.5", "e5", "1,5", "1\n", "--1"),
        *("\u0661", "\u00b2", "true", "1f", "1e400", "1e10", "1e999999999", "1e" + "9" * 400),
        *("9000000000.000001", "9000000000.0000000001", "9000000001", "12345678901", "9" * 400),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        micro_from_text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0." + "0" * LARGE + "1", 1),
        ("1" + "0" * LARGE + f"e-{LARGE}", MICRO),
        ("1" * LARGE, None),
        ("1e" + "9" * LARGE, None),
    ],
)
def test_no_text_makes_a_large_number_on_the_way(text: str, expected: int | None) -> None:
    """Python needs minutes for the integer of so many digits, or refuses to make it."""
    if expected is None:
        with pytest.raises(ValueError, match="at most"):
            micro_from_text(text)
    else:
        assert micro_from_text(text) == expected


NUMBERS = st.from_regex(r"-?[0-9]{1,14}(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(NUMBERS)
def test_what_is_read_is_never_lower_than_what_is_meant(text: str) -> None:
    """``Decimal`` is the oracle: less than a micro-unit above, nothing below."""
    with localcontext(prec=200):
        exact_micro = Decimal(text) * MICRO
        if not 0 <= exact_micro <= MAX_MICRO:
            with pytest.raises(ValueError, match="expected"):
                micro_from_text(text)
        else:
            assert 0 <= micro_from_text(text) - exact_micro < 1


@given(st.decimals(0, QUANTITY_UNITS_MAX), st.decimals(0, QUANTITY_UNITS_MAX))
def test_what_is_more_never_costs_less(one: Decimal, other: Decimal) -> None:
    low, high = sorted((one, other))

    assert micro_from_text(str(low)) <= micro_from_text(str(high))


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
