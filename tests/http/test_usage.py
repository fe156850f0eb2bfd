"""Quantities in fields are exact, bounded and never negative."""

import pytest

from gateway.http.usage import UnreadableValue, quantity_from_field

MICRO = 1_000_000


@pytest.mark.parametrize(
    ("value", "micro"),
    [
        (b"1", MICRO), (b" 2.5\t", 2_500_000), (b"0.000001", 1), (b"0", 0), (b"-0", 0),
        (b"007", 7 * MICRO), (b"1e3", 1000 * MICRO), (b"12.3456789", 12_345_679),
        (b"0.30000000000000004", 300_001), (b"1e-7", 1), (b"0." + b"0" * 400 + b"1", 1),
    ],
)  # fmt: skip
def test_a_fields_value_is_read_exactly_and_rounded_up(value: bytes, micro: int) -> None:
    assert quantity_from_field(value) == micro


@pytest.mark.parametrize(
    "value",
    [b"", b" ", b"-1", b"+1", b"1_0", b"0x1", b".5", b"5.", b"1,5", b"1, 5", b'"7"', b"nan",
     b"Infinity", b"true", b"\xd9\xa1", b"\xb2", b"1\x00", b"1\x0b", b"1e400", b"1e999999999",
     b"9" * 400, b"99999999999", b"9000000001"],
)  # fmt: skip
def test_a_fields_value_that_is_no_such_number_is_refused(value: bytes) -> None:
    with pytest.raises(UnreadableValue, match="expected"):
        quantity_from_field(value)
