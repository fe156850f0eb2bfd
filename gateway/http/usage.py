"""Quantities that stand in header fields.

Source: docs/semantics.md#what-a-request-costs.
"""

from gateway.rules.units import micro_from_text


class UnreadableValue(ValueError):  # noqa: N818 - it is the value that is at fault
    """A value is there but can't be read; the message is fit for the caller."""


def quantity_from_field(value: bytes) -> int:
    """Return the micro-units that a header field's value means, parts of one rounded up.

    Raises:
        UnreadableValue: not a non-negative decimal within bounds.
    """
    try:
        return micro_from_text(value.strip(b" \t").decode("latin-1"))
    except ValueError as error:
        raise UnreadableValue(str(error)) from error
