"""The time zones that a price list may name: the same on every machine.

The list is that of the ``tzdata`` package, which is locked; a machine's own folder of zones may
lack some, and holds names that mean something else elsewhere (``localtime``, ``Factory``).
Source: https://www.iana.org/time-zones; docs/reference/pricing.md.
"""

import functools
from importlib import resources
from typing import Final

NOT_A_PLACE: Final = frozenset({"Factory", "localtime", "posixrules"})
"""Stand for a machine's own setting, or for none."""

ZONE_WORDS: Final = "an IANA time zone such as Asia/Seoul"


@functools.cache
def zones() -> tuple[str, ...]:
    """Return the names of all zones and of their former names, sorted."""
    listed = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return tuple(sorted({*listed, "UTC"} - NOT_A_PLACE))


def require_zone(name: str) -> str:
    """Return a zone's name.

    Raises:
        ValueError: there is no such zone.
    """
    if name not in zones():
        raise ValueError(f"{name!r} is not {ZONE_WORDS}")
    return name
