"""What a route file's parts have to do with each other: checks that no single value shows.

Unsafe combinations are refused at the load: limits that can never apply, options without effect,
routes that hide each other, headers that belong to HTTP itself.
Source: design section 11; requirement X3.
"""

import ssl
from dataclasses import dataclass, field
from typing import Final

from gateway.config.routes import RouteFile, RouteModel, RunIdModel
from gateway.config.snapshot import Route
from gateway.config.tunnels import TunnelModel
from gateway.config.upstreams import UpstreamModel
from gateway.config.yaml_positions import Document, Path
from gateway.errors import Fault
from gateway.http.methods import method_refusal
from gateway.http.problems import status_of
from gateway.rules.charging import REQUESTS_METER
from gateway.rules.identifiers import suggestion
from gateway.rules.limits import Ladder, Scope
from gateway.rules.plan import Pricing

TIER_LIMITS: Final = ("rpm", "monthly_dc", "hard_overage_cap")
STORE_DEADLINE_SECONDS_MAX: Final = 10.0
"""A store that needs longer is away; the callers' own timeouts begin around there."""
_OWNED_BY_HTTP: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"te", b"trailer"}
)
_SECRET: Final = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"})


@dataclass(slots=True)
class Compilation:
    """One compilation: the models, what they refer to, and the faults found so far.

    Attributes:
        is_priced: All price lists could be read: what they don't name, there is not.
        meters: Every meter that something counts or bills.
        features: Every feature that a plan has.
        tier_limits: Every limit id that a plan has, and the standard ones, which may be unlimited.
    """

    file: RouteFile
    document: Document
    pricings: tuple[Pricing, ...]
    is_priced: bool = True
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    meters: frozenset[str] = field(init=False)
    features: frozenset[str] = field(init=False)
    tier_limits: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        tiers = [tier for pricing in self.pricings for tier in pricing.tiers.values()]
        ladders = [ladder for tier in tiers for ladder in tier.ladders.values()]
        billed = {pricing.meter.name for pricing in self.pricings}
        extra = {name for pricing in self.pricings for name in pricing.meter_units}
        self.meters = frozenset(
            {REQUESTS_METER} | billed | extra | {ladder.meter for ladder in ladders}
        )
        self.features = frozenset().union(*(tier.features for tier in tiers))
        self.tier_limits = frozenset(TIER_LIMITS).union(*(tier.ladders for tier in tiers))

    def fault(self, path: Path, message: str, expected: str = "") -> None:
        """Note a fault at a place of the route file."""
        self.faults.append(self.document.fault(path, message, expected))

    def warn(self, path: Path, message: str, expected: str = "") -> None:
        """Note what is allowed and probably not meant, at a place of the route file."""
        self.warnings.append(self.document.fault(path, message, expected))

    def knows_meter(self, name: str) -> bool:
        """Return whether something counts or bills a meter, as far as the price lists tell."""
        return name in self.meters or not self.is_priced

    def knows_limit(self, name: str) -> bool:
        """Return whether a plan has a limit, as far as the price lists tell."""
        return name in self.tier_limits or not self.is_priced

    def ladders_called(self, limit_id: str) -> list[Ladder]:
        """Return what a limit id means, plan by plan."""
        return [
            tier.ladders[limit_id]
            for pricing in self.pricings
            for tier in pricing.tiers.values()
            if limit_id in tier.ladders
        ]


def check_file(work: Compilation, routes: tuple[Route, ...]) -> None:
    """Note what is wrong between the parts of a file."""
    _check_names(work)
    _check_shadows(work, routes)
    _check_policies_are_named(work)
    _check_tls_of_upstreams(work)
    _check_failures_of_upstreams(work)
    file = work.file
    if not 0 < file.store.deadline <= STORE_DEADLINE_SECONDS_MAX:
        work.fault(("store", "deadline"), "not a bound of a store call", "from 1ms to 10s")
    if not file.shipper.interval:
        work.fault(("shipper", "interval"), "without a pause the shipper never rests")
    if file.journal.max_bytes < file.journal.segment_bytes or not file.journal.segment_bytes:
        work.fault(("journal",), "max_bytes has no room for a segment of segment_bytes")
    for index, name in enumerate(file.identity_headers):
        if name.lower().encode() in _OWNED_BY_HTTP:
            work.fault(("identity_headers", index), f"{name} belongs to HTTP and can't be dropped")


def check_route(work: Compilation, at: Path, model: RouteModel, route: Route) -> None:
    """Note what is wrong between the options of one route."""
    for index, method in enumerate(model.match.methods):
        refusal = method_refusal(method.encode())
        if refusal is not None:
            message = f"{method} never comes to a route: it is answered with"
            where: Path = (*at, "match", "methods", index)
            work.fault(where, f"{message} {status_of(refusal.code)}", "GET, POST, PROPFIND, ...")
    if model.auth == "none" and model.requires:
        work.fault((*at, "requires"), "an open route knows no plan that could have a feature")
    run_id = model.run_id
    if isinstance(run_id, RunIdModel) and run_id.response_header is not None and run_id.required:
        message = "a header of the answer can't be required of the request"
        work.fault((*at, "run_id", "required"), message)
    headers = [place.header for place in route.auth.places]
    for index, header in enumerate(headers):
        if header in headers[:index]:
            work.fault((*at, "auth", "key", index), f"{header.decode()} is given twice")
        if header in _OWNED_BY_HTTP:
            work.fault((*at, "auth", "key", index), f"{header.decode()} belongs to HTTP")
    _check_readings(work, at, route)
    _check_limits(work, at, model, route)
    _check_prefix(work, at, model, route)
    _check_tunnel(work, (*at, "tunnel"), model)


def _check_readings(work: Compilation, at: Path, route: Route) -> None:
    """Refuse to read what lets somebody in: a run id is stored and shown as it came."""
    secret = _SECRET | {place.header for place in route.auth.places}
    read: list[tuple[Path, bytes]] = []
    if route.run_id is not None:
        read.append(((*at, "run_id"), route.run_id.header))
    for cost in route.cost:
        where: Path = (*at, "cost", cost.meter)
        read.append(((*where, "reserve"), cost.reserve.header))
        if cost.settle is not None:
            read.append(((*where, "settle"), cost.settle.header))
    for place, header in read:
        if header in secret:
            message = f"{header.decode()} holds a secret: nothing else is read from it"
            work.fault(place, message, "another field")


def _check_limits(work: Compilation, at: Path, model: RouteModel, route: Route) -> None:
    """Refuse limits named twice, told alike, or on a meter that the route never charges."""
    charged = {REQUESTS_METER} | {cost.meter for cost in route.cost}
    if route.tunnel is not None and route.tunnel.meter is not None:
        charged.add(route.tunnel.meter.meter)
    own = {ladder.id: ladder for ladder in route.own_limits}
    named = model.limits or []
    for place, name in enumerate(named):
        if name in named[:place]:
            work.fault((*at, "limits", place), f"{name} is given twice")
        ladders = work.ladders_called(name) if name in route.limits else []
        meters = {ladder.meter for ladder in ([own[name]] if name in own else ladders)}
        if meters and meters <= work.meters and not meters & charged:
            message = f"{name} counts {min(meters)}, which this route never charges"
            work.fault((*at, "limits", place), message, "a cost in it, or no such limit")
    told = {ladder.soft.wire for name in route.limits for ladder in work.ladders_called(name)}
    for wire in sorted({ladder.soft.wire for ladder in route.own_limits} & told):
        work.fault((*at, "limits"), f"two limits of this route are told as {wire}")
    by_address = [ladder for ladder in route.own_limits if ladder.scope is Scope.ADDRESS]
    if model.auth == "none" and len({(each.ipv4_bits, each.ipv6_bits) for each in by_address}) > 1:
        names = " and ".join(ladder.id for ladder in by_address)
        message = f"{names} count by different prefixes, and the address stands for the workspace"
        work.fault((*at, "limits"), message, "one address_prefix for the limits of an open route")


def _check_prefix(work: Compilation, at: Path, model: RouteModel, route: Route) -> None:
    """Refuse a prefix that not every path of the route has: it would be cut off by chance."""
    if not model.strip_prefix or not route.path:
        return
    cut = [part.encode() for part in model.strip_prefix.rstrip("/")[1:].split("/")]
    if [segment.literal for segment in route.path[: len(cut)]] != cut:
        message = "not every path of this route begins with this"
        work.fault((*at, "strip_prefix"), message, "whole literal segments of match.path")


def _check_tunnel(work: Compilation, at: Path, model: RouteModel) -> None:
    """Refuse limits on tunnels that no tunnel can meet."""
    tunnel = model.tunnel
    if tunnel is None:
        return
    if "GET" not in model.match.methods:
        work.fault(at, "without effect: only a GET opens a tunnel")
    if tunnel == TunnelModel():
        work.fault(at, "it limits nothing", "connections_per_workspace, duration, idle or meter")
    for option, seconds in (("duration", tunnel.duration), ("idle", tunnel.idle)):
        if seconds == 0:
            work.fault((*at, option), "every tunnel would be closed at once")
    meter = tunnel.meter
    if meter is None:
        return
    if meter.meter == REQUESTS_METER or not work.knows_meter(meter.meter):
        work.fault(
            (*at, "meter", "meter"),
            f"{meter.meter} is no meter that a route can charge",
            suggestion(meter.meter, work.meters - {REQUESTS_METER}),
        )
    if model.auth == "none":
        work.fault((*at, "meter"), "an open route has nobody to charge")


def _check_names(work: Compilation) -> None:
    seen: set[str] = set()
    for index, route in enumerate(work.file.routes):
        if route.name in seen:
            work.fault(("routes", index, "name"), f"two routes are called {route.name}")
        seen.add(route.name)
    taken = set(work.tier_limits)
    for index, policy in enumerate(work.file.policies):
        if policy.name in taken:
            work.fault(("policies", index, "name"), f"another limit is called {policy.name}")
        taken.add(policy.name)


def _check_policies_are_named(work: Compilation) -> None:
    named = {name for route in work.file.routes for name in route.limits or ()}
    for index, policy in enumerate(work.file.policies):
        if policy.name not in named:
            message = f"no route has {policy.name} among its limits, so it limits nothing"
            work.fault(("policies", index), message)


def _check_shadows(work: Compilation, routes: tuple[Route, ...]) -> None:
    """Refuse routes that can never be reached because an equal one stands before them.

    By the matcher's precedence only an equal template hides another: a literal, a parameter and
    ``**`` at the same place each leave the wider ones what they don't take themselves.
    """
    taken: dict[tuple[bytes, bytes, tuple[tuple[bytes | None, bool], ...]], str] = {}
    for index, route in enumerate(routes):
        if not route.path:  # its template is a fault of its own
            continue
        shape = tuple((segment.literal, segment.is_rest) for segment in route.path)
        for host in sorted(route.hosts) or [b""]:
            for method in sorted(route.methods):
                other = taken.setdefault((host, method, shape), route.name)
                if other != route.name:
                    work.fault(
                        ("routes", index, "match"),
                        f"{method.decode()} here is already taken by the route {other}",
                    )


def _check_tls_of_upstreams(work: Compilation) -> None:
    for name, upstream in work.file.upstreams.items():
        at: Path = ("upstreams", name)
        is_tls = any(endpoint.startswith("https:") for endpoint in upstream.endpoints)
        for option in (
            "tls_ca_file",
            "tls_server_name",
            "tls_client_certificate",
            "tls_client_key",
        ):
            if getattr(upstream, option) is not None and not is_tls:
                work.fault((*at, option), "without effect: no endpoint is https")
        if upstream.tls_client_key is not None and upstream.tls_client_certificate is None:
            work.fault((*at, "tls_client_key"), "tls_client_certificate is missing")
        if is_tls:
            _check_tls_files(work, at, upstream)


def _check_failures_of_upstreams(work: Compilation) -> None:
    for name, upstream in work.file.upstreams.items():
        at: Path = ("upstreams", name)
        if not 0 < upstream.ejection.rest <= upstream.ejection.rest_max:
            work.fault((*at, "ejection"), "rest is nothing, or longer than rest_max")
        circuit = upstream.circuit
        if circuit is not None and not (circuit.window and circuit.pause):
            work.fault((*at, "circuit"), "without a window and a pause it never opens")


def _check_tls_files(work: Compilation, at: Path, upstream: UpstreamModel) -> None:
    """Load what a reload must not fail on."""
    option, file = "tls_ca_file", upstream.tls_ca_file
    try:
        context = ssl.create_default_context(cafile=file)
        if upstream.tls_client_certificate is not None:
            option, file = "tls_client_certificate", upstream.tls_client_certificate
            context.load_cert_chain(file, upstream.tls_client_key, password="")
    except OSError as error:
        reason = error.strerror or "not a certificate"
        work.fault((*at, option), f"{file} can't be used: {reason}")
