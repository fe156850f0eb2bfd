"""What a scenario is: one request, what it must be answered with, and who can be asked."""

from dataclasses import dataclass

BARE = ("nginx", "haproxy", "envoy")
WHOLE_JOB = ("nginx-lua", "aiohttp", "gateway")
MOVING_BYTES = ("nginx", "envoy", "aiohttp", "gateway")
"""Where deciding hardly counts, one of a kind is enough."""
DECISIONS = "decisions"
"""The group of what is passed and what is refused, which are compared with each other."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file of this folder holds one as ``SCENARIO``.

    Attributes:
        says: One line for the report.
        status: Every answer must have it.
        caller: Which of a peer's callers asks: ``usual`` has room, ``limited`` has none left,
            ``unknown`` has no key that anybody knows.
        peers: Who can do it.
        connections: The bench's default if 0.
        rate: Requests a second at which it is asked, whatever the answers do; 0 asks anew as soon
            as an answer has come.
        seconds_max: Less than the bench's default, for what shows itself sooner.
        unit: What is counted: a request, if no size is given.
        unit_bytes: So many bytes of the answers are one unit.
        is_new_each_time: No head is like another: a field counts up.
        is_websocket: Messages that are echoed, not requests, are counted.
        group: Scenarios of one group are measured in the same rounds, so that they may be compared
            with each other; without one, a scenario has its rounds for itself.
    """

    name: str
    says: str
    method: str = "GET"
    path: str = "/v1/status"
    body: bytes = b""
    status: int = 200
    caller: str = "usual"
    peers: tuple[str, ...] = BARE + WHOLE_JOB
    connections: int = 0
    rate: float = 0.0
    seconds_max: int = 60
    unit: str = "request"
    unit_bytes: int = 0
    is_new_each_time: bool = False
    is_websocket: bool = False
    group: str = ""

    @property
    def together(self) -> str:
        """The same for all scenarios that are measured in the same rounds."""
        return self.group or self.name
