"""Quantities that stand in header fields and JSON bodies.

Source: RFC 6901 (JSON Pointer); design section 3 (steps 4 and 8).
"""

from decimal import Decimal

import orjson

from gateway.rules.units import MICRO, QUANTITY_UNITS_MAX, micro_from_text


class UnreadableQuantity(ValueError):  # noqa: N818 - it is the quantity that is at fault
    """A quantity is there but can't be read; the message is fit for the caller."""


def quantity_from_field(value: bytes) -> int:
    """Return the micro-units that a header field's value means.

    Raises:
        UnreadableQuantity: not a plain non-negative decimal within bounds.
    """
    try:
        return micro_from_text(value.strip().decode("ascii"))
    except ValueError as error:
        raise UnreadableQuantity("expected a non-negative decimal number") from error


def parse_json(body: bytes) -> object:
    """Return the parsed body.

    Raises:
        UnreadableQuantity: the body is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableQuantity("the body is not valid JSON") from error


def at_pointer(document: object, pointer: tuple[str, ...]) -> object | None:
    """Return the member that a JSON Pointer's tokens name, None if there is none."""
    found = document
    for token in pointer:
        if isinstance(found, dict) and token in found:
            found = found[token]
        elif isinstance(found, list) and token.isdecimal() and int(token[:9]) < len(found):
            found = found[int(token[:9])]
        else:
            return None
    return found


def quantity_from_json(value: object) -> int:
    """Return the micro-units that a JSON number means.

    Raises:
        UnreadableQuantity: not a non-negative number within bounds, or finer than a micro-unit.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnreadableQuantity("expected a non-negative number")
    if isinstance(value, int):
        if not 0 <= value <= QUANTITY_UNITS_MAX:
            raise UnreadableQuantity("expected a non-negative number within bounds")
        return value * MICRO
    exact = Decimal(repr(value)) * MICRO
    if not exact.is_finite() or not 0 <= exact <= QUANTITY_UNITS_MAX * MICRO:
        raise UnreadableQuantity("expected a non-negative number within bounds")
    if exact != exact.to_integral_value():
        raise UnreadableQuantity("expected at most six decimals")
    return int(exact)
