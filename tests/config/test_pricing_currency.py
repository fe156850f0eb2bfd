"""Decimals of currencies: A17, T40 (a price in the wrong minor unit is off by a hundred)."""

import pytest

from gateway.config.pricing_currency import minor_digits


@pytest.mark.parametrize(
    ("code", "digits"), [("KRW", 0), ("JPY", 0), ("USD", 2), ("EUR", 2), ("KWD", 3)]
)
def test_a_currency_has_its_decimals(code: str, digits: int) -> None:
    assert minor_digits(code) == digits


@pytest.mark.parametrize("code", ["KWR", "usd", "", "XTS"])
def test_a_mistyped_code_is_not_taken_for_a_currency(code: str) -> None:
    with pytest.raises(ValueError, match="currency in circulation"):
        minor_digits(code)
