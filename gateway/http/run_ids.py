"""What callers may name their runs, wherever the name stands.

Source: draft-ietf-httpapi-idempotency-key-header-07 2.1; design section 3 (step 4).
"""

from collections.abc import Sequence
from typing import Final

from gateway.errors import Refusal, RefusalCode

RUN_ID_BYTES_MAX: Final = 255
"""As Stripe's; longer ones would let a caller fill the store."""


def run_id_of_fields(values: Sequence[bytes]) -> bytes | None:
    """Return the run id that the values of a header field name, None if there are none.

    Raises:
        Refusal: there are several.
    """
    if not values:
        return None
    if len(values) > 1:
        raise Refusal(RefusalCode.BAD_REQUEST, detail="More than one run id was sent.")
    return unquote(values[0].strip())


def run_id_of_json(member: object) -> bytes | None:
    """Return the run id that a member of a JSON body names; an integer is its decimal digits.

    Raises:
        Refusal: it is neither; passed over, each retry of the run would be billed.
    """
    if member is None:
        return None
    if isinstance(member, str):
        return member.encode()
    if isinstance(member, int) and not isinstance(member, bool):
        return b"%d" % member
    raise Refusal(RefusalCode.BAD_REQUEST, detail="A run id is a string or an integer.")


def checked_run_id(value: bytes | None, *, required: bool) -> str | None:
    """Return a run id as the gateway keeps it, None if none was named.

    Raises:
        Refusal: it is required and missing, or malformed.
    """
    if value is None:
        if required:
            raise Refusal(RefusalCode.BAD_REQUEST, detail="This route requires a run id.")
        return None
    if not 0 < len(value) <= RUN_ID_BYTES_MAX or not value.isascii() or not _is_visible(value):
        raise Refusal(
            RefusalCode.BAD_REQUEST,
            detail=f"A run id has 1 to {RUN_ID_BYTES_MAX} printable ASCII characters.",
        )
    return value.decode("ascii")


def unquote(value: bytes) -> bytes:
    """Return the run id within a structured-field string, or the bare value as Stripe's users send.

    Source: draft-ietf-httpapi-idempotency-key-header-07 2.1.
    """
    if len(value) >= 2 and value[:1] == value[-1:] == b'"':
        return value[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
    return value


def _is_visible(value: bytes) -> bool:
    return value.decode("ascii").isprintable()
