"""Quantities are exact, bounded and never negative, wherever they come from."""

from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.usage import (
    UnreadableQuantity,
    at_pointer,
    parse_json,
    quantity_from_field,
    quantity_from_json,
)

MICRO = 1_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"1", MICRO), (b" 2.5 ", 2_500_000), (b"0.000001", 1), (b"0", 0), (b"007", 7 * MICRO)],
)
def test_field_value_is_read_exactly(value: bytes, expected: int) -> None:
    assert quantity_from_field(value) == expected


@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"+1", b"1_0", b"1e3", b"0x1", b".5", b"5.", b"1,5", b"nan", b"\xd9\xa1",
     b"0.0000001", b"99999999999", b"9000000001"],
)  # fmt: skip
def test_field_value_that_is_no_plain_decimal_is_refused(value: bytes) -> None:
    with pytest.raises(UnreadableQuantity):
        quantity_from_field(value)


@given(st.decimals(min_value=0, max_value=10**6, places=6, allow_nan=False))
def test_json_number_is_read_exactly(number: Decimal) -> None:
    value = orjson.loads(format(number, "f"))

    assert quantity_from_json(value) == int(number * MICRO)


@pytest.mark.parametrize("value", [True, -1, -0.5, "1", None, [], 1e-7, 1e30, 9_000_000_001])
def test_json_value_that_is_no_quantity_is_refused(value: object) -> None:
    with pytest.raises(UnreadableQuantity):
        quantity_from_json(value)


def test_pointer_follows_members_and_items() -> None:
    document = {"a": {"b": [10, {"c": 3}]}, "": 1, "a/b": 2}

    assert at_pointer(document, ("a", "b", "1", "c")) == 3
    assert at_pointer(document, ("",)) == 1
    assert at_pointer(document, ("a/b",)) == 2
    assert at_pointer(document, ()) is document
    assert at_pointer(document, ("a", "x")) is None
    assert at_pointer(document, ("a", "b", "9")) is None
    assert at_pointer(document, ("a", "b", "-1")) is None


def test_broken_json_is_refused() -> None:
    with pytest.raises(UnreadableQuantity):
        parse_json(b"{")
