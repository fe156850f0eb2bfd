"""The route file's models: what may stand in it, what it means, and its default.

Every description becomes the published JSON Schema and the configuration reference.
Source: design section 11; requirement X3.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.config.model import FileName, Listed, Model, Name, Version
from gateway.config.policies import PolicyModel
from gateway.config.quantities import (
    Bytes,
    HeadBytes,
    PositiveSeconds,
    Quantity,
    Seconds,
    Share,
    TargetBytes,
)
from gateway.config.tunnels import TunnelModel
from gateway.config.upstreams import ENDPOINT, PROBED, UpstreamModel
from gateway.rules.identifiers import NAME_PATTERN, NAME_WORDS

_HEADER: Final = r"^[A-Za-z0-9!#$%&'*+.^`|~-]{1,64}$"
_METHOD: Final = r"^[A-Z]{1,20}$"
_PATH: Final = r"^/"
_HOST: Final = r"^([a-z0-9.\[\]:_~!$&'()*+;=-]|%[0-9A-F]{2})+$"
_KEY_PLACE: Final = r"^(bearer|header:[A-Za-z0-9-]{1,64})$"
_POINTER: Final = r"^(/|$)"
_PREFIX: Final = r"^(/[^?#]*)?$"
FORMS: Final = {
    NAME_PATTERN: NAME_WORDS,
    _HEADER: "the name of a header field, without underscores",
    _METHOD: "a method in upper case",
    _PATH: "something that begins with /",
    _HOST: "a host in lower case, escapes in upper case",
    _KEY_PLACE: "bearer or header:NAME",
    _POINTER: "a JSON Pointer such as /usage/total, or nothing for the whole body",
    _PREFIX: "something that begins with /, without ? and #",
    PROBED: "a path, perhaps with a query, of visible ASCII",
    ENDPOINT: "http://host:port, https://host or unix:/path/to/socket; no user, path or query",
}
"""Every pattern in words: faults tell what would be right."""

HeaderName = Annotated[str, Field(pattern=_HEADER)]


Listeners = Annotated[list[str], Listed, Field(min_length=1)]


class MatchModel(Model):
    """Which requests a route takes."""

    methods: Annotated[
        list[Annotated[str, Field(pattern=_METHOD)]],
        Field(min_length=1, description="Methods; GET takes HEAD too."),
    ]
    path: Annotated[
        str,
        Field(
            pattern=_PATH,
            description="Path template: literal segments, {name} for one segment, a last ** for "
            "any rest.",
        ),
    ]
    hosts: Annotated[
        list[Annotated[str, Field(pattern=_HOST)]],
        Field(description="Hosts in lower case, without port; empty takes any."),
    ] = []


class AuthModel(Model):
    """How callers identify themselves."""

    key: Annotated[
        list[Annotated[str, Field(pattern=_KEY_PLACE)]],
        Listed,
        Field(
            min_length=1,
            description="Where a key may stand: bearer, header:NAME.",
        ),
    ] = ["bearer", "header:X-API-Key"]
    forward_key: Annotated[
        bool, Field(description="Send the key on to the upstream; off, it never gets there.")
    ] = False
    forward_identity: Annotated[
        bool,
        Field(
            description="Tell the upstream who calls: X-Gateway-Workspace, -Key-Id, -Plan, "
            "-Event-Id."
        ),
    ] = False


class ReadingModel(Model):
    """Where a quantity is read: a header or a member of the JSON body."""

    header: Annotated[HeaderName | None, Field(description="Name of a header field.")] = None
    json_pointer: Annotated[
        str | None,
        Field(alias="json", pattern=_POINTER, description="JSON Pointer into the body (RFC 6901)."),
    ] = None
    default: Annotated[
        Quantity | None,
        Field(
            description="Taken where the value is missing; without it, missing is refused (400)."
        ),
    ] = None


class MeterCostModel(Model):
    """What a request costs in one meter."""

    reserve: Annotated[
        Quantity | ReadingModel, Field(description="What is charged before forwarding.")
    ]
    settle: Annotated[
        ReadingModel | None,
        Field(
            description="Where the answer tells the actual cost; missing there, the estimate "
            "stands. With `json` the upstream is asked for a whole answer that is not compressed."
        ),
    ] = None


class RunIdModel(Model):
    """Where the run id stands: the same one within the retention is billed once."""

    header: Annotated[HeaderName | None, Field(description="Request header field.")] = None
    json_pointer: Annotated[
        str | None,
        Field(
            alias="json",
            pattern=_PATH,
            description="Member of the request's JSON body: a string or an integer, which names "
            "the run of its decimal digits; null is as absent, anything else is refused (400).",
        ),
    ] = None
    response_header: Annotated[
        HeaderName | None,
        Field(
            description="Header field of the answer: names the record, can't deduplicate the "
            "charge."
        ),
    ] = None
    required: Annotated[bool, Field(description="Refuse requests without one (400).")] = False


class PathsModel(Model):
    """What becomes of ambiguous spellings of a path."""

    ambiguous: Annotated[
        Literal["refuse", "normalise"],
        Field(
            description="Dot segments: refuse with 400, or resolve before matching and forwarding."
        ),
    ] = "refuse"
    merge_slashes: Annotated[
        bool, Field(description="Merge empty segments instead of refusing them.")
    ] = False


class RouteModel(Model):
    """One route."""

    name: Annotated[Name, Field(description="Shown in records, metrics and logs.")]
    match: Annotated[MatchModel, Field(description="Which requests it takes.")]
    upstream: Annotated[Name, Field(description="An entry of upstreams.")]
    auth: Annotated[
        AuthModel | Literal["none"],
        Field(description="How callers identify themselves; none for an open route."),
    ] = AuthModel()
    requires: Annotated[
        list[Name], Listed, Field(description="Features that plan and key must have (403).")
    ] = []
    limits: Annotated[
        list[Name] | None,
        Field(
            description="Limits that apply: rpm, monthly_dc (hard_overage_cap is part of it), "
            "names of "
            "limits_extra and of policies. Default: all of the plan; on an open route none."
        ),
    ] = None
    cost: Annotated[
        dict[Name, Quantity | MeterCostModel] | None,
        Field(description="Cost by meter. Default: one dc; on an open route nothing."),
    ] = None
    run_id: Annotated[
        RunIdModel | Literal["none"] | None,
        Field(description="Where the run id stands. Default: the header Idempotency-Key."),
    ] = None
    on_store_failure: Annotated[
        Literal["closed", "open"],
        Field(
            description="While the counter store is away: refuse (503), or pass within "
            "local_share_percent."
        ),
    ] = "closed"
    legacy_headers: Annotated[
        Literal["off", "delta", "epoch"],
        Field(
            description="Add X-RateLimit-Limit, -Remaining, -Reset (seconds from now, or Unix "
            "time)."
        ),
    ] = "off"
    ratelimit_upstream: Annotated[
        Literal["append", "replace"],
        Field(description="Keep the upstream's own RateLimit fields beside ours, or drop them."),
    ] = "append"
    max_body: Annotated[Bytes, Field(description="Larger request bodies are refused (413).")] = (
        1_000_000_000
    )
    paths: Annotated[
        PathsModel | None, Field(description="Ambiguous paths of this route. Default: the file's.")
    ] = None
    client_gone: Annotated[
        Literal["finish", "cancel"],
        Field(
            description="A client leaves after its request went on whole and before the answer "
            "began, not with GET, HEAD or OPTIONS: ask the upstream to the end and bill by "
            "its status, or cancel it and bill what was reserved."
        ),
    ] = "finish"
    tunnel: Annotated[
        TunnelModel | None,
        Field(description="Limits on WebSocket tunnels, and what passes in them metered."),
    ] = None
    strip_prefix: Annotated[
        str, Field(pattern=_PREFIX, description="Cut off the path before forwarding.")
    ] = ""


class StoreModel(Model):
    """The counter store."""

    deadline: Annotated[Seconds, Field(description="Bound of one call.")] = 0.05
    breaker_timeouts: Annotated[
        int, Field(ge=1, le=1000, description="Timeouts in a row after which it counts as away.")
    ] = 5
    local_share_percent: Annotated[
        int,
        Field(
            ge=0, le=100,
            description="Share of each cap that this worker admits while the store is away and "
            "a route is open.",
        ),
    ] = 10  # fmt: skip


class JournalModel(Model):
    """The journal of records."""

    fsync: Annotated[
        Seconds | Literal["every_write"],
        Field(
            description="Power loss loses at most this; every_write loses nothing and costs a sync."
        ),
    ] = 1.0
    segment_bytes: Annotated[Bytes, Field(description="A file is closed at this size.")] = (
        64_000_000
    )
    max_bytes: Annotated[
        Bytes,
        Field(description="Bound of what waits for the ledger; then requests are refused (503)."),
    ] = 4_000_000_000
    keep_shipped: Annotated[
        Seconds,
        Field(description="How long a shipped file is kept for a ledger that loses it; 0: none."),
    ] = 3600.0
    keep_shipped_bytes: Annotated[
        Bytes | None, Field(description="Most of them, by default a quarter of max_bytes.")
    ] = None
    reserve_bytes: Annotated[
        Bytes, Field(description="Set aside for a ledger on the journal's disk; 0: nothing.")
    ] = 16_000_000


class ShipperModel(Model):
    """Journal to ledger."""

    interval: Annotated[Seconds, Field(description="Between two looks at the journal.")] = 1.0
    batch: Annotated[int, Field(ge=1, le=50_000, description="Records in one transaction.")] = 1000


class AccessLogModel(Model):
    """The access log on stdout."""

    sample: Annotated[Share, Field(description="Share of requests that are logged, 0 to 1.")] = (
        1_000_000
    )


class ClientLimitsModel(Model):
    """Bounds on what a client may send."""

    head: Annotated[
        HeadBytes,
        Field(description="Whole head (431). Browsers with many cookies need 16 KB; twice that."),
    ] = 32_768
    header_count: Annotated[
        int, Field(ge=8, le=10_000, description="Header fields (431). Real clients stay below 60.")
    ] = 128
    target: Annotated[
        TargetBytes, Field(description="Request target (414). RFC 9112 asks for at least 8000.")
    ] = 8192
    head_time: Annotated[
        PositiveSeconds, Field(description="For the whole head; a slow one is closed.")
    ] = 10.0
    body_idle: Annotated[
        PositiveSeconds, Field(description="Between two pieces of a body (408).")
    ] = 30.0
    body_rate: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="Bytes a second that a body must come with, on average (408); what "
            "body_idle allows is not counted. 0 asks for none.",
        ),
    ] = 100
    keep_alive: Annotated[
        PositiveSeconds, Field(description="An idle connection is closed after this.")
    ] = 75.0
    json_body: Annotated[
        Bytes,
        Field(
            description="A body that a cost or run id is read from is buffered up to this (413)."
        ),
    ] = 1_048_576
    connections: Annotated[
        int,
        Field(ge=1, le=1_000_000, description="Client connections of a worker; more are closed."),
    ] = 20_000
    connections_per_address: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="Of one client address, or /64 of IPv6, trusted proxies excepted; more are "
            "closed. 0 sets no bound.",
        ),
    ] = 0
    underscores: Annotated[
        Literal["drop", "refuse", "forward"],
        Field(
            description="Fields with an underscore in their name: dropped, refused (400) or sent "
            "on. CGI and WSGI can't tell X_User from X-User."
        ),
    ] = "drop"
    half_close: Annotated[
        Literal["gone", "answer"],
        Field(description="A client that closes its side has left, or is answered; not over TLS."),
    ] = "gone"
    pipelined: Annotated[
        int,
        Field(
            ge=1, le=1000, description="Requests waiting on one connection before reading stops."
        ),
    ] = 32


class RouteFile(Model):
    """The route file."""

    version: Annotated[Version, Field(description="Version of this format.")]
    pricing: Annotated[
        list[FileName],
        Listed,
        Field(
            min_length=1,
            description="Pricing file, or several versions of it; relative to this file.",
        ),
    ]
    counters: Annotated[
        str,
        Field(
            min_length=1,
            description="memory, redis://..., rediss://... or unix:///path/to/redis.sock.",
        ),
    ] = "memory"
    ledger: Annotated[
        str | None,
        Field(
            min_length=1,
            description="sqlite:///path or postgresql://... Default: ledger.db in data_dir.",
        ),
    ] = None
    keys: Annotated[
        str | None,
        Field(
            min_length=1,
            description="file:keys.yaml, env:VARIABLE, sqlite:///... or postgresql://... "
            "Default: the ledger's database.",
        ),
    ] = None
    foreign_keys: Annotated[
        bool,
        Field(
            description="Look up keys too that were not made by this gateway: 16 to 512 bytes of "
            "printable ASCII without blanks. Shorter ones could be guessed, and stay refused."
        ),
    ] = False
    data_dir: Annotated[str, Field(min_length=1, description="Journal and other local state.")] = (
        "data"
    )
    listen: Annotated[
        Listeners,
        Field(
            description="Addresses for clients: host:port, [address]:port. A name means all of its "
            "addresses; [::] takes IPv6 only, both families are 0.0.0.0 and [::]. Port 0 takes a "
            "free one.",
        ),
    ] = ["127.0.0.1:8080"]
    admin_listen: Annotated[Listeners, Field(description="The same for probes and metrics.")] = [
        "127.0.0.1:9090"
    ]
    tls_certificate: Annotated[
        str | None,
        Field(
            min_length=1,
            description="Chain of the listener, PEM, relative to this file; may be renewed.",
        ),
    ] = None
    tls_key: Annotated[
        str | None,
        Field(min_length=1, description="Its key, PEM, without a password, relative to this file."),
    ] = None
    tls_client_ca: Annotated[
        str | None,
        Field(
            min_length=1,
            description="Clients must show a certificate of these authorities; relative to this "
            "file.",
        ),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="Events on stderr.")
    ] = "info"
    drain: Annotated[
        Seconds, Field(description="At SIGTERM, requests and tunnels get this long to finish.")
    ] = 30.0
    huge_pages: Annotated[
        bool, Field(description="Have densely used memory put into huge pages (Linux).")
    ] = True
    store: Annotated[StoreModel, Field(description="The counter store.")] = StoreModel()
    journal: Annotated[JournalModel, Field(description="The journal.")] = JournalModel()
    shipper: Annotated[ShipperModel, Field(description="Journal to ledger.")] = ShipperModel()
    access_log: Annotated[AccessLogModel, Field(description="The access log.")] = AccessLogModel()
    trusted_proxies: Annotated[
        list[str],
        Field(
            description="Networks whose X-Forwarded-For and X-Forwarded-Proto are believed; "
            "::ffff:10.0.0.0/104 is 10.0.0.0/8."
        ),
    ] = []
    identity_headers: Annotated[
        list[HeaderName],
        Field(description="Request fields that only the gateway may set; a client's are dropped."),
    ] = ["X-Tenant-Id", "X-Workspace-Id"]
    via: Annotated[Name, Field(description="The gateway's name in Via.")] = "gateway"
    limits: Annotated[ClientLimitsModel, Field(description="Bounds on clients.")] = (
        ClientLimitsModel()
    )
    paths: Annotated[PathsModel, Field(description="Ambiguous paths.")] = PathsModel()
    policies: Annotated[
        list[PolicyModel], Field(description="Limits of this file, for routes to name.")
    ] = []
    upstreams: Annotated[
        dict[Name, UpstreamModel], Field(min_length=1, description="Services by name.")
    ]
    routes: Annotated[list[RouteModel], Field(min_length=1, description="Routes.")]
