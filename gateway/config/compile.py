"""Models to snapshot: everything is worked out once, every cross-check made, every fault collected.

Unsafe combinations are refused here, not discovered by a caller: limits that can never apply,
meters and features that nobody has, routes that hide each other.
Source: design section 11; requirements X3, A1, T40.
"""

import re
from collections.abc import Mapping

from gateway.config.compile_checks import (
    TIER_LIMITS,
    Compilation,
    check_file,
    check_route,
)
from gateway.config.compile_policies import policy_of, trusted_networks
from gateway.config.matcher import RouteMatcher, without_port
from gateway.config.routes import (
    AuthModel,
    MeterCostModel,
    PathsModel,
    ReadingModel,
    RouteFile,
    RouteModel,
    RunIdModel,
)
from gateway.config.snapshot import (
    AccessLog,
    Auth,
    CircuitRules,
    ClientLimits,
    CostReading,
    CostSource,
    Ejection,
    Endpoint,
    FailurePolicy,
    GonePolicy,
    HealthCheck,
    KeyPlace,
    LegacyFields,
    MeterCost,
    PathPolicy,
    Route,
    RunIdReading,
    RunIdSource,
    Segment,
    Snapshot,
    Timeouts,
    Upstream,
)
from gateway.config.sources import digest
from gateway.config.tunnels import rules_of
from gateway.config.upstreams import CircuitModel, EjectionModel, HealthCheckModel, UpstreamModel
from gateway.config.yaml_positions import Document, Path
from gateway.errors import ConfigError, Fault
from gateway.http.hosts import canonical_host
from gateway.http.paths import AmbiguousPath, canonical, require_spelling
from gateway.rules.charging import REQUESTS_METER
from gateway.rules.identifiers import suggestion
from gateway.rules.limits import Ladder, Scope
from gateway.rules.plan import Pricing
from gateway.rules.units import MICRO

GATEWAY_IDENTITY = frozenset(
    {b"x-gateway-workspace", b"x-gateway-key-id", b"x-gateway-plan", b"x-gateway-event-id"}
)
_AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
_PORT_MAX = 65_535
_SIMPLE_PATH = "an absolute path of plain segments, {name} for one segment, ** only at the end"


def compile_snapshot(
    file: RouteFile,
    document: Document,
    pricings: tuple[Pricing, ...],
    sources: Mapping[str, bytes],
    *,
    version: int = 1,
    is_priced: bool = True,
    warnings: list[Fault] | None = None,
) -> Snapshot:
    """Return the snapshot of a route file.

    Args:
        file: The validated models.
        document: Where everything stands.
        pricings: The pricing versions that the file names.
        sources: Content of every file read, for the digest.
        version: Counts the snapshots of a process.
        is_priced: All price lists could be read; otherwise names of plans, meters and features
            are not looked up.
        warnings: What is allowed and probably not meant is added to them.

    Raises:
        ConfigError: with every fault.
    """
    work = Compilation(file, document, pricings, is_priced)
    upstreams = {
        name: _upstream(work, name, model, sources) for name, model in file.upstreams.items()
    }
    policies = {
        model.name: policy_of(work, index, model) for index, model in enumerate(file.policies)
    }
    routes = tuple(
        _route(work, index, model, upstreams, policies) for index, model in enumerate(file.routes)
    )
    check_file(work, routes)
    networks = trusted_networks(work)
    if warnings is not None:
        warnings += work.warnings
    if work.faults:
        raise ConfigError(work.faults)
    return Snapshot(
        version=version,
        source_digest=digest(sources),
        pricings=pricings,
        routes=routes,
        matcher=RouteMatcher(routes),
        upstreams=tuple(upstreams.values()),
        limits=_limits(file),
        paths=_path_policy(file.paths),
        access_log=AccessLog(file.access_log.sample),
        trusted_proxies=networks,
        identity_fields=GATEWAY_IDENTITY
        | {name.lower().encode() for name in file.identity_headers},
        via=file.via.encode(),
        local_share_percent=file.store.local_share_percent,
    )


def _path_policy(model: PathsModel) -> PathPolicy:
    return PathPolicy(model.ambiguous == "normalise", model.merge_slashes)


def _limits(file: RouteFile) -> ClientLimits:
    limits = file.limits
    return ClientLimits(
        head_bytes_max=limits.head,
        header_count_max=limits.header_count,
        target_bytes_max=limits.target,
        head_seconds=limits.head_time,
        body_idle_seconds=limits.body_idle,
        keep_alive_seconds=limits.keep_alive,
        json_body_bytes_max=limits.json_body,
        connections_max=limits.connections,
        pipelined_max=limits.pipelined,
        connections_per_address_max=limits.connections_per_address,
        body_bytes_per_second_min=limits.body_rate,
        underscores=limits.underscores,
        answers_half_closed=limits.half_close == "answer",
    )


def _upstream(
    work: Compilation, name: str, model: UpstreamModel, sources: Mapping[str, bytes]
) -> Upstream:
    endpoints = tuple(
        _endpoint(work, ("upstreams", name, "endpoints", index), text)
        for index, text in enumerate(model.endpoints)
    )
    total = model.timeouts.total
    return Upstream(
        name=name,
        endpoints=endpoints,
        timeouts=Timeouts(
            connect_seconds=model.timeouts.connect,
            first_byte_seconds=model.timeouts.first_byte,
            idle_seconds=model.timeouts.idle,
            total_seconds=None if isinstance(total, str) else total,
            total_of_plan=total == "plan",
        ),
        connections_max=model.connections_max,
        idle_connections_max=model.idle_connections_max,
        idle_seconds=model.idle,
        preserve_host=model.preserve_host,
        tls_ca_file=model.tls_ca_file,
        tls_server_name=model.tls_server_name,
        tls_client_certificate=model.tls_client_certificate,
        tls_client_key=model.tls_client_key,
        health_check=None if model.health_check is None else _health_check(model.health_check),
        ejection=_ejection(model.ejection),
        circuit=None if model.circuit is None else _circuit(model.circuit),
        pending_max=model.pending_max,
        requests_max=model.requests_max,
        dns_refresh_seconds=model.dns_refresh,
        tls_digest=digest({str(path): sources[str(path)] for path in model.tls_files}),
    )


def _ejection(model: EjectionModel) -> Ejection:
    return Ejection(
        failures=model.failures,
        after_5xx=model.after_5xx,
        rest_seconds=model.rest,
        rest_seconds_max=model.rest_max,
        ejected_percent_max=model.max_ejected_percent,
    )


def _circuit(model: CircuitModel) -> CircuitRules:
    return CircuitRules(
        failures=frozenset(model.failures),
        percent=model.percent,
        requests=model.requests,
        window_seconds=model.window,
        pause_seconds=model.pause,
        close_after=model.close_after,
    )


def _health_check(model: HealthCheckModel) -> HealthCheck:
    return HealthCheck(
        path=model.path.encode(),
        interval_seconds=model.interval,
        timeout_seconds=model.timeout,
        statuses=frozenset(model.statuses),
        unwell_after=model.unwell_after,
        well_after=model.well_after,
    )


def _endpoint(work: Compilation, path: Path, text: str) -> Endpoint:
    if text.startswith("unix:"):
        return Endpoint("localhost", 0, tls=False, authority=b"localhost", unix_path=text[5:])
    found = _AUTHORITY.fullmatch(text.partition("://")[2])
    port = int(found["port"] or 0) if found else 0
    if found is None or port > _PORT_MAX or (found["port"] and not port):
        work.fault(path, "not a host and a port from 1 to 65535", "http://host:port")
        return Endpoint("", 0, tls=False, authority=b"")
    tls = text.startswith("https:")
    return Endpoint(
        found["v6"] or found["name"].lower(),
        port or (443 if tls else 80),
        tls=tls,
        authority=found[0].encode(),
    )


def _route(
    work: Compilation,
    index: int,
    model: RouteModel,
    upstreams: Mapping[str, Upstream],
    policies: Mapping[str, Ladder],
) -> Route:
    at: Path = ("routes", index)
    if model.upstream not in upstreams:
        message = f"no upstream is called {model.upstream}"
        work.fault((*at, "upstream"), message, suggestion(model.upstream, upstreams))
    for place, feature in enumerate(model.requires):
        if work.is_priced and feature not in work.features:
            work.fault(
                (*at, "requires", place),
                f"no plan has the feature {feature}",
                suggestion(feature, work.features),
            )
    limits, own = _route_limits(work, at, model, policies)
    route = Route(
        name=model.name,
        methods=frozenset(method.encode() for method in model.match.methods),
        hosts=frozenset(
            _host(work, (*at, "match", "hosts", place), host)
            for place, host in enumerate(model.match.hosts)
        ),
        path=_template(work, (*at, "match", "path"), model.match.path),
        upstream=upstreams.get(model.upstream) or next(iter(upstreams.values())),
        auth=_auth(model),
        requires=frozenset(model.requires),
        limits=limits,
        own_limits=own,
        cost=_cost(work, at, model),
        run_id=_run_id(work, at, model),
        on_store_failure=FailurePolicy(model.on_store_failure),
        legacy_fields=LegacyFields(model.legacy_headers),
        replace_upstream_ratelimit=model.ratelimit_upstream == "replace",
        body_bytes_max=model.max_body,
        strip_prefix=model.strip_prefix.rstrip("/").encode(),
        tunnel=None if model.tunnel is None else rules_of(model.tunnel),
        client_gone=GonePolicy(model.client_gone),
        paths=_path_policy(model.paths or work.file.paths),
    )
    check_route(work, at, model, route)
    return route


def _host(work: Compilation, at: Path, text: str) -> bytes:
    host = canonical_host(text.encode())
    if host is None or without_port(host) != host.lower():
        work.fault(at, f"no request's host is ever compared as {text}", "a name without port")
        return b""
    if "*" in text:
        message = f"{text} takes this very name: a * stands for nothing else"
        work.warn(at, message, "each name; or no hosts, which takes any")
    return without_port(host)


def _auth(model: RouteModel) -> Auth:
    if not isinstance(model.auth, AuthModel):
        return Auth(())
    places = tuple(
        KeyPlace(b"authorization", bearer=True)
        if text == "bearer"
        else KeyPlace(text.removeprefix("header:").lower().encode(), bearer=False)
        for text in model.auth.key
    )
    return Auth(places, model.auth.forward_key, model.auth.forward_identity)


def _route_limits(
    work: Compilation, at: Path, model: RouteModel, policies: Mapping[str, Ladder]
) -> tuple[tuple[str, ...], tuple[Ladder, ...]]:
    is_open = model.auth == "none"
    if model.limits is None:
        return (() if is_open else tuple(sorted(work.tier_limits, key=_told_first))), ()
    own: list[Ladder] = []
    tier: list[str] = []
    for place, name in enumerate(model.limits):
        where = (*at, "limits", place)
        if name in policies:
            own.append(policies[name])
            if is_open and policies[name].scope not in {Scope.ADDRESS, Scope.ROUTE}:
                work.fault(
                    where,
                    f"{name} counts per {policies[name].scope.value}: an open route knows none",
                    "scope: address",
                )
        elif not work.knows_limit(name):
            known = work.tier_limits | policies.keys()
            work.fault(where, f"no limit is called {name}", suggestion(name, known))
        elif is_open:
            work.fault(where, f"{name} is a plan's limit and can never apply to an open route")
        else:
            tier.append(name)
    return tuple(tier), tuple(own)


def _told_first(name: str) -> tuple[int, str]:
    return (TIER_LIMITS.index(name) if name in TIER_LIMITS else len(TIER_LIMITS), name)


def _template(work: Compilation, at: Path, text: str) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    parts = text[1:].split("/")
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        if part == "**" and last:
            segments.append(Segment(None, is_rest=True))
        elif part.startswith("{") and part.endswith("}") and part[1:-1].isidentifier():
            segments.append(Segment(None))
        elif not set("{}*?#%") & set(part) and part.isascii() and (part or last):
            segments.append(Segment(part.encode()))
        else:
            work.fault(at, f"{part!r} can't stand in a path template", _SIMPLE_PATH)
            return ()
    literal = b"/" + b"/".join(
        b"x" if segment.literal is None else segment.literal for segment in segments
    )
    try:
        require_spelling(canonical(literal)[1], resolve=False, merge_slashes=False)
    except AmbiguousPath as error:
        work.fault(at, f"no canonical path can match this template: {error}", _SIMPLE_PATH)
    return tuple(segments)


def _cost(work: Compilation, at: Path, model: RouteModel) -> tuple[MeterCost, ...]:
    if model.cost is None:
        if model.auth == "none":
            return ()
        billed = work.pricings[0].meter.name if work.pricings else "dc"
        return (MeterCost(billed, CostReading(CostSource.STATIC, MICRO)),)
    costs = []
    for meter, said in model.cost.items():
        where = (*at, "cost", meter)
        if meter == REQUESTS_METER or not work.knows_meter(meter):
            work.fault(
                where,
                f"{meter} is no meter that a route can charge",
                suggestion(meter, work.meters - {REQUESTS_METER}),
            )
        if model.auth == "none":
            work.fault(where, "an open route has nobody to charge")
        if isinstance(said, MeterCostModel):
            settle = (
                None if said.settle is None else _reading(work, (*where, "settle"), said.settle)
            )
            reserve = (
                CostReading(CostSource.STATIC, said.reserve * MICRO)
                if isinstance(said.reserve, int)
                else _reading(work, (*where, "reserve"), said.reserve)
            )
            costs.append(MeterCost(meter, reserve, settle))
        else:
            costs.append(MeterCost(meter, CostReading(CostSource.STATIC, said * MICRO)))
    return tuple(costs)


def _reading(work: Compilation, at: Path, model: ReadingModel) -> CostReading:
    default_micro = None if model.default is None else model.default * MICRO
    if (model.header is None) == (model.json_pointer is None):
        work.fault(at, "exactly one of header and json says where the quantity stands")
    if at[-1] == "settle" and model.default is not None:
        work.fault((*at, "default"), "a settlement has no default: without one the estimate stands")
    if model.header is not None:
        return CostReading(CostSource.HEADER, default_micro, header=model.header.lower().encode())
    return CostReading(CostSource.JSON, default_micro, pointer=_pointer(model.json_pointer or ""))


def _pointer(text: str) -> tuple[str, ...]:
    """Return the tokens of a JSON Pointer (RFC 6901 3)."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


def _run_id(work: Compilation, at: Path, model: RouteModel) -> RunIdReading | None:
    said = model.run_id
    if said == "none" or model.auth == "none":
        if isinstance(said, RunIdModel):
            work.fault((*at, "run_id"), "an open route has no workspace that a run could belong to")
        return None
    if said is None:
        return RunIdReading(RunIdSource.HEADER, header=b"idempotency-key")
    given = [said.header, said.json_pointer, said.response_header]
    if sum(value is not None for value in given) != 1:
        work.fault((*at, "run_id"), "exactly one of header, json and response_header names the run")
    if said.header is not None:
        return RunIdReading(
            RunIdSource.HEADER, header=said.header.lower().encode(), required=said.required
        )
    if said.json_pointer is not None:
        return RunIdReading(
            RunIdSource.JSON, pointer=_pointer(said.json_pointer), required=said.required
        )
    return RunIdReading(
        RunIdSource.RESPONSE_HEADER, header=(said.response_header or "").lower().encode()
    )
