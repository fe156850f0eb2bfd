"""Fixed-point quantities and the type that means "no limit"."""

from decimal import Decimal
from enum import Enum
from typing import Final, Literal

MICRO: Final = 1_000_000
"""Micro-units in one unit: 1 DC is stored as 1,000,000."""

QUANTITY_UNITS_MAX: Final = 9_000_000_000
"""Largest quantity or cap, in units. Lua computes with doubles, exact up to 2**53 micro-units."""


COUNT_MAX_MICRO: Final = 9_200_000_000_000_000_000
"""Largest count of a store: below 64 bits by more than Lua's doubles err there."""


class Unlimited(Enum):
    """The absence of a limit. A type, never a number: no comparison can get it wrong."""

    UNLIMITED = "unlimited"


UNLIMITED: Final = Unlimited.UNLIMITED
Cap = int | Literal[Unlimited.UNLIMITED]


def micro_from_text(text: str) -> int:
    """Return the micro-units that a decimal literal such as ``"2"`` or ``"0.25"`` means.

    Raises:
        ValueError: not plain ASCII digits with at most one point, more than six decimals, or larger
            than ``QUANTITY_UNITS_MAX``.
    """
    whole, point, fraction = text.partition(".")
    digits_only = (whole + fraction).isdigit() and text.isascii()
    if not digits_only or not whole or (point and not fraction) or len(fraction) > 6:
        raise ValueError(f"not a plain decimal with at most six decimals: {text[:40]!r}")
    if len(whole) > 10:
        raise ValueError("larger than any quantity can be")
    value = int(whole) * MICRO + int(fraction.ljust(6, "0") or "0")
    if value > QUANTITY_UNITS_MAX * MICRO:
        raise ValueError("larger than any quantity can be")
    return value


def text_from_micro(value_micro: int) -> str:
    """Return the shortest decimal literal of a quantity: ``1500000`` -> ``"1.5"``."""
    return format((Decimal(value_micro) / MICRO).normalize(), "f")


def ceil_units(value_micro: int) -> int:
    """Return whole units, rounded up."""
    return -(-value_micro // MICRO)
