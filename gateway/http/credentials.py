"""Where an API key stands in a request.

Source: RFC 6750 2.1 (Bearer), RFC 9110 11.6.2; requirement B2.
"""

from collections.abc import Sequence
from typing import Final

from gateway.errors import Refusal, RefusalCode

BEARER: Final = b"bearer "
_BEARER_AS_USUAL: Final = b"Bearer "
_BLANK: Final = ord(" ")
SECRET_BYTES_MAX: Final = 512
"""Longer than any key: what is longer is refused before it is hashed."""
REMEMBERED_BYTES_MAX: Final = 1024
"""A longer line or value with a key is not kept: connections are many."""


def read_key(places: Sequence[tuple[bytes, bool]], special: dict[bytes, list[bytes]]) -> bytes:
    """Return the key that a request carries.

    Args:
        places: (lower-case field name, whether it holds ``Bearer``), in order of preference.
        special: The request's fields of interest, by lower-case name.

    Raises:
        Refusal: ``KEY_MISSING``, or ``KEY_AMBIGUOUS`` if two different keys are given.
    """
    found: bytes | None = None
    for name, bearer in places:
        values = special.get(name)
        if values is None:
            continue
        for value in values:
            key = _after_scheme(value) if bearer else value.strip()
            if not key:
                continue
            if found is not None and found != key:
                raise Refusal(RefusalCode.KEY_AMBIGUOUS)
            found = key
    if found is None:
        raise Refusal(RefusalCode.KEY_MISSING)
    if len(found) > SECRET_BYTES_MAX:
        raise Refusal(RefusalCode.KEY_INVALID)
    return found


def only_place(
    places: Sequence[tuple[bytes, bool]], special: dict[bytes, list[bytes]]
) -> tuple[bytes, bool] | None:
    """Return the place whose one value is the only one in which a key could stand, None if none."""
    only: tuple[bytes, bool] | None = None
    for place in places:
        values = special.get(place[0])
        if values is None:
            continue
        if only is not None or len(values) > 1:
            return None
        only = place
    return only


def is_bearer(value: bytes) -> bool:
    """Return whether credentials are of the scheme ``Bearer``, in any case."""
    scheme = value[:7]
    return scheme == _BEARER_AS_USUAL or scheme.lower() == BEARER


def _after_scheme(value: bytes) -> bytes:
    if not is_bearer(value):
        return b""
    key = value[7:]
    return key if key and key[0] > _BLANK and key[-1] > _BLANK else key.strip()
