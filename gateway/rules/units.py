"""Fixed-point quantities and the type that means "no limit"."""

import re
from decimal import Decimal
from enum import Enum
from typing import Final, Literal

MICRO: Final = 1_000_000
"""Micro-units in one unit: 1 DC is stored as 1,000,000."""

QUANTITY_UNITS_MAX: Final = 9_000_000_000
"""Largest quantity or cap, in units. Lua computes with doubles, exact up to 2**53 micro-units."""


COUNT_MAX_MICRO: Final = 9_200_000_000_000_000_000
"""Largest count of a store: below 64 bits by more than Lua's doubles err there."""


_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_DECIMALS: Final = 6
_DIGITS_MAX: Final = 16
"""Of the largest quantity in micro-units."""
_EXPONENT_DIGITS_MAX: Final = 15
"""Longer ones outweigh all digits that fit into memory."""
_BEYOND: Final = 10**_EXPONENT_DIGITS_MAX
_TOO_LARGE: Final = f"expected at most {QUANTITY_UNITS_MAX}"


class Unlimited(Enum):
    """The absence of a limit. A type, never a number: no comparison can get it wrong."""

    UNLIMITED = "unlimited"


UNLIMITED: Final = Unlimited.UNLIMITED
Cap = int | Literal[Unlimited.UNLIMITED]


def micro_from_text(text: str) -> int:
    """Return the micro-units that a decimal number means; parts of one are rounded up.

    The grammar is JSON's (RFC 8259 6), but that zeros may lead: ``2``, ``0.25``, ``1e-7``. No text
    makes a large number on the way, however long it or its exponent is.

    Raises:
        ValueError: not a number of this grammar, negative, or larger than ``QUANTITY_UNITS_MAX``.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError("expected a non-negative decimal number")
    sign, whole, fraction, exponent = found.groups("")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    if sign:
        raise ValueError("expected a non-negative decimal number")
    shift = _bounded(exponent) - len(fraction) + _DECIMALS
    whole_digits = len(digits) + shift
    if whole_digits > _DIGITS_MAX:
        raise ValueError(_TOO_LARGE)
    if whole_digits <= 0:
        return 1
    if shift >= 0:
        value_micro = int(digits + "0" * shift)
    else:
        value_micro = int(digits[:shift]) + bool(digits[shift:].strip("0"))
    if value_micro > QUANTITY_UNITS_MAX * MICRO:
        raise ValueError(_TOO_LARGE)
    return value_micro


def _bounded(exponent: str) -> int:
    """Return an exponent, or one as good where it is beyond every text's length."""
    digits = exponent.lstrip("+-0")
    size = int(digits or "0") if len(digits) <= _EXPONENT_DIGITS_MAX else _BEYOND
    return -size if exponent[:1] == "-" else size


def text_from_micro(value_micro: int) -> str:
    """Return the shortest decimal literal of a quantity: ``1500000`` -> ``"1.5"``."""
    return format((Decimal(value_micro) / MICRO).normalize(), "f")


def ceil_units(value_micro: int) -> int:
    """Return whole units, rounded up."""
    return -(-value_micro // MICRO)
