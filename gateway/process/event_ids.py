"""Names for events."""

from typing import Final

import uuid_utils

_uuid7: Final = uuid_utils.uuid7


def new_event_id() -> str:
    """Return a UUIDv7 (RFC 9562 5.7): unique anywhere, and later ones sort behind earlier ones."""
    return str(_uuid7())
