"""What a plan allows: a limit names a meter, a window, a cap and an action.

A tier's limits are compiled once into ``Ladder`` objects, one per counter. A ladder is what the
counter store checks in one comparison (``block_cap_micro``) and what the caller is told about in up
to two policies: the soft one (``soft``: quota or rate) and the hard one above it (``hard``).

Source: design, "The pricing file" and "Policies"; requirements A4 to A6, A12, D3.
"""

from dataclasses import dataclass
from enum import Enum

from gateway.rules.units import Cap
from gateway.rules.windows import Window


class LimitKind(Enum):
    """What a limit's counter means."""

    RATE = "rate"
    """Per short window. Never refunded: the request did happen. Counts repeats of a run id too."""
    QUOTA = "quota"
    """Cumulative over a period. Refunded when the request turns out not billable."""


class Action(Enum):
    """What happens to a request that goes over a limit."""

    BLOCK = "block"
    WARN = "warn"
    """Pass, flag it in the record, report it."""


class Scope(Enum):
    """Whose counter it is. All counters of a request live in its workspace's hash slot."""

    WORKSPACE = "workspace"
    KEY = "key"
    ROUTE = "route"
    """One counter per workspace and route."""
    ADDRESS = "address"
    """One counter per workspace and client address, or network of addresses."""


@dataclass(frozen=True, slots=True)
class PolicyName:
    """One policy as the caller sees it: its name on the wire and the number that is its limit."""

    wire: str
    limit_micro: int


@dataclass(frozen=True, slots=True)
class Ladder:
    """One counter of a request and everything that is judged by its value.

    Attributes:
        id: The limit's name in route files (``rpm``, ``monthly_dc``, an extra limit's name).
        counter: First part of the counter's key: ``rpm``, ``usage``, or the extra limit's name.
        meter: What is counted; a request's cost in this meter is the amount.
        soft: The advertised policy; above its limit the request is in overage.
        hard: The policy named when ``block_cap_micro`` is passed; None where ``soft`` blocks.
        block_cap_micro: Counts above this refuse; ``UNLIMITED`` where nothing refuses.
        grace_from_micro: Counts above this and up to the block cap are grace; None without grace.
        retention_seconds: How long the counter outlives its period.
        alerts: Whether crossing ``soft`` is reported (``safety.overage_alerts``).
        counts_calls: Every call counts as one unit whatever its quantity (aggregation ``count``).
        ipv4_bits: With scope ``address``: the prefix that addresses of one counter share.
        ipv6_bits: The same of IPv6.
    """

    id: str
    counter: str
    kind: LimitKind
    meter: str
    window: Window
    scope: Scope
    soft: PolicyName
    hard: PolicyName | None
    block_cap_micro: Cap
    grace_from_micro: int | None
    retention_seconds: int
    alerts: bool
    counts_calls: bool = False
    action: Action = Action.BLOCK
    ipv4_bits: int = 32
    ipv6_bits: int = 64
