"""The compiled configuration: read by every request, swapped whole on reload.

Immutable, but for what a worker counts of each route.

Imports no pydantic, so that the data plane loads without it. Made by ``config.compile`` alone.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

from gateway.rules.limits import Ladder
from gateway.rules.plan import Pricing

HALF_CLOSE_SECONDS: Final = 30.0
"""The direction of a tunnel that is still open is kept for so long, unless its route says more."""


class FailurePolicy(Enum):
    """What a route does when the counter store is away; without the journal none answers."""

    CLOSED = "closed"
    OPEN = "open"


class CostSource(Enum):
    """Where a quantity is read from."""

    STATIC = "static"
    HEADER = "header"
    JSON = "json"
    """A member of the JSON body, by JSON Pointer (RFC 6901)."""


@dataclass(frozen=True, slots=True)
class CostReading:
    """One way to get a quantity: ``header`` lower-cased, or ``pointer`` split into its tokens."""

    source: CostSource
    default_micro: int | None
    header: bytes = b""
    pointer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeterCost:
    """A meter's cost on a route: what to reserve, and what to settle at (None: the reservation)."""

    meter: str
    reserve: CostReading
    settle: CostReading | None = None


class RunIdSource(Enum):
    """Where the run id comes from."""

    HEADER = "header"
    JSON = "json"
    RESPONSE_HEADER = "response_header"
    """Known only once the upstream answered: names the record, does not deduplicate the charge."""


@dataclass(frozen=True, slots=True)
class RunIdReading:
    """How a route names its runs."""

    source: RunIdSource
    header: bytes = b""
    pointer: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key may stand: ``Authorization: Bearer`` (``bearer`` True) or a header of its own."""

    header: bytes
    bearer: bool


@dataclass(frozen=True, slots=True)
class Auth:
    """How a route identifies the caller; ``places`` empty means an open route."""

    places: tuple[KeyPlace, ...]
    forward_key: bool = False
    forward_identity: bool = False
    """Send ``X-Gateway-Workspace``, ``-Key-Id``, ``-Plan`` and ``-Event-Id`` upstream."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of an upstream. ``unix_path`` set means a Unix socket."""

    host: str
    port: int
    tls: bool
    authority: bytes
    unix_path: str | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; ``total_of_plan`` takes the plan's ``max_execution_seconds``, None is no bound."""

    connect_seconds: float
    first_byte_seconds: float
    idle_seconds: float
    total_seconds: float | None
    total_of_plan: bool = True


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How an upstream's endpoints are asked whether they are well.

    Attributes:
        statuses: Answers that say so.
        unwell_after: Failed probes in a row until an endpoint is left alone.
        well_after: Good probes in a row until it is used again.
    """

    path: bytes
    interval_seconds: float
    timeout_seconds: float
    statuses: frozenset[int]
    unwell_after: int
    well_after: int


@dataclass(frozen=True, slots=True)
class Ejection:
    """When an endpoint that fails requests is left alone, and for how long.

    Attributes:
        failures: Requests in a row that it failed until it rests.
        after_5xx: Answers with 5xx in a row until it rests; 0 looks at none.
        rest_seconds: First rest; each further one in a row is twice as long.
        ejected_percent_max: Share of the endpoints that may rest at once; never all.
    """

    failures: int = 3
    after_5xx: int = 0
    rest_seconds: float = 5.0
    rest_seconds_max: float = 300.0
    ejected_percent_max: int = 100


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """When requests to an upstream that fails are refused at once.

    Attributes:
        failures: What counts: ``connect``, ``timeout``, ``closed``, ``protocol``, ``5xx``.
        percent: Share of the last ``requests`` within the window that opens it.
        pause_seconds: Refuses all for so long, then lets one request at a time through.
        close_after: Such requests in a row that succeed close it.
    """

    failures: frozenset[str]
    percent: int = 50
    requests: int = 20
    window_seconds: float = 10.0
    pause_seconds: float = 5.0
    close_after: int = 1


@dataclass(frozen=True, slots=True)
class Upstream:
    """A named service behind the gateway.

    Attributes:
        pending_max: Requests that may wait for a connection.
        requests_max: Requests of a worker under way or waiting; 0 sets no bound.
        dns_refresh_seconds: Host names are looked up again after this; 0 never does.
        tls_digest: Of the content of its TLS files: with renewed ones it gets new connections.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    timeouts: Timeouts
    connections_max: int
    idle_connections_max: int
    idle_seconds: float
    preserve_host: bool
    tls_ca_file: str | None = None
    tls_server_name: str | None = None
    tls_client_certificate: str | None = None
    tls_client_key: str | None = None
    health_check: HealthCheck | None = None
    ejection: Ejection = Ejection()
    circuit: CircuitRules | None = None
    pending_max: int = 1024
    requests_max: int = 0
    dns_refresh_seconds: float = 10.0
    tls_digest: str = ""


@dataclass(slots=True, eq=False)
class RouteCounters:
    """What a worker counts about a route; exported by telemetry, never reset."""

    by_status: dict[int, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    latency_buckets: list[int] = field(default_factory=list)
    latency_sum_micro: int = 0
    requests: int = 0
    unenforced: int = 0
    unsettled: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class GonePolicy(Enum):
    """What becomes of a forwarded request that is not safe when its client leaves unanswered."""

    FINISH = "finish"
    """The upstream is asked to the end and its status decides what is billed."""
    CANCEL = "cancel"
    """The upstream is cancelled and the reserve is billed."""


class LegacyFields(Enum):
    """Which ``X-RateLimit-*`` triple a route adds, beside the IETF fields."""

    OFF = "off"
    DELTA = "delta"
    """``X-RateLimit-Reset`` in seconds from now."""
    EPOCH = "epoch"
    """``X-RateLimit-Reset`` as Unix time."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a path template: a literal, a ``{parameter}``, or the final ``**``."""

    literal: bytes | None
    is_rest: bool = False


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """Whether ambiguous spellings of a path are refused with 400 or normalised."""

    normalise: bool
    merge_slashes: bool


class TunnelUnit(Enum):
    """What a tunnel is metered by."""

    MESSAGES = "messages"
    BYTES = "bytes"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class TunnelMeter:
    """How a tunnel is charged.

    Attributes:
        per_unit: So many messages, bytes or seconds are one unit of the meter.
        slice_units: So many units are reserved at once.
    """

    meter: str
    by: TunnelUnit
    per_unit: int
    slice_units: int


@dataclass(frozen=True, slots=True)
class TunnelRules:
    """What a route lets its tunnels do; 0 sets no bound.

    Attributes:
        connections_max: Open tunnels of one workspace, or client address, in a worker.
        duration_seconds: A tunnel is closed after this.
        idle_seconds: A tunnel in which nothing passed for so long is closed.
        half_close_seconds: So long the other direction is kept once one side has closed its own;
            0 closes both at once.
    """

    connections_max: int = 0
    duration_seconds: float = 0.0
    idle_seconds: float = 0.0
    meter: TunnelMeter | None = None
    half_close_seconds: float = HALF_CLOSE_SECONDS


@dataclass(frozen=True, slots=True)
class Route:
    """One route, ready to serve.

    Attributes:
        limits: Limit ids in the order they are told to the caller. A tier that lacks one of them
            (its cap is unlimited) is not limited by it.
        own_limits: Limits of the route file itself, the same for all tiers.
        replace_upstream_ratelimit: Drop the upstream's own RateLimit fields.
        body_bytes_max: Larger request bodies are refused with 413.
        paths: What becomes of ambiguous spellings that mean this route.
    """

    name: str
    methods: frozenset[bytes]
    hosts: frozenset[bytes]
    path: tuple[Segment, ...]
    upstream: Upstream
    auth: Auth
    requires: frozenset[str]
    limits: tuple[str, ...]
    own_limits: tuple[Ladder, ...]
    cost: tuple[MeterCost, ...]
    run_id: RunIdReading | None
    on_store_failure: FailurePolicy
    legacy_fields: LegacyFields
    replace_upstream_ratelimit: bool
    body_bytes_max: int
    strip_prefix: bytes = b""
    paths: PathPolicy = PathPolicy(normalise=False, merge_slashes=False)
    tunnel: TunnelRules | None = None
    client_gone: GonePolicy = GonePolicy.FINISH
    counters: RouteCounters = field(default_factory=RouteCounters, compare=False)


class Matcher:
    """Finds the route of a request; ``config.matcher`` is the one there is.

    A class and no ``typing.Protocol``: compiled code calls its methods without a look-up.
    """

    __slots__ = ()

    @abstractmethod
    def match(self, method: bytes, host: bytes, path: bytes) -> Route | None:
        """Return the route of a request, None if there is none."""
        raise NotImplementedError

    @abstractmethod
    def allowed_methods(self, host: bytes, path: bytes) -> frozenset[bytes]:
        """Return the methods that routes take at a path."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class AccessLog:
    """``sample_per_million`` of answered requests are logged; 0 turns it off."""

    sample_per_million: int


Underscores = Literal["drop", "refuse", "forward"]
"""What becomes of request fields with an underscore in their name."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds on what a client may send; each has its default's reason in ``config.routes``."""

    head_bytes_max: int
    header_count_max: int
    target_bytes_max: int
    head_seconds: float
    body_idle_seconds: float
    keep_alive_seconds: float
    json_body_bytes_max: int
    connections_max: int
    pipelined_max: int
    connections_per_address_max: int = 0
    body_bytes_per_second_min: int = 0
    underscores: Underscores = "drop"
    answers_half_closed: bool = False


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything a request reads.

    Attributes:
        pricings: Versions in order of ``effective_from``; ``pricing_at`` chooses.
        local_share_percent: Share of each cap that one worker may admit while the store is away and
            the route fails open.
        identity_fields: Lower-cased names of request fields that only the gateway may set.
    """

    version: int
    source_digest: str
    pricings: tuple[Pricing, ...]
    routes: tuple[Route, ...]
    matcher: Matcher
    upstreams: tuple[Upstream, ...]
    limits: ClientLimits
    paths: PathPolicy
    access_log: AccessLog
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    identity_fields: frozenset[bytes]
    via: bytes
    local_share_percent: int

    def pricing_at(self, now_micro: int) -> Pricing | None:
        """Return the version in force at an instant, None if none is (A3)."""
        found = None
        for pricing in self.pricings:
            if pricing.effective_from_micro > now_micro:
                break
            end = pricing.effective_to_micro
            found = pricing if end is None or now_micro < end else None
        return found
