"""What a scenario is: one request, what it must be answered with, and who can be asked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file of this folder holds one as ``SCENARIO``.

    Attributes:
        status: Every answer must have it.
        caller: Which of a peer's callers asks: ``usual`` has room, ``limited`` has none left,
            ``unknown`` has no key that anybody knows.
        peers: Who can do it; empty for all.
    """

    name: str
    says: str
    path: str = "/v1/status"
    status: int = 200
    caller: str = "usual"
    peers: tuple[str, ...] = ()
