"""``gateway routes``: what the route file makes of paths, in the order in which they match."""

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config
from gateway.cli.context import open_desk
from gateway.config.snapshot import CostReading, CostSource, Route, Segment
from gateway.rules.units import text_from_micro

COLUMNS = {
    "route": "ROUTE",
    "methods": "METHODS",
    "path": "PATH",
    "upstream": "UPSTREAM",
    "limits": "LIMITS",
    "cost": "COST",
    "requires": "REQUIRES",
    "on_store_failure": "STORE AWAY",
}


def show(*, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the routes: what they match, where they go, what they cost and what limits them."""
    desk = open_desk(config)
    found = [_described(route) for route in desk.snapshot.routes]
    output.rows(found, COLUMNS, as_json=as_json, empty="The route file has no routes.")


def _described(route: Route) -> dict[str, object]:
    return {
        "route": route.name,
        "methods": sorted(method.decode() for method in route.methods) or ["any"],
        "hosts": sorted(host.decode() for host in route.hosts),
        "path": "/" + "/".join(map(_segment, route.path)),
        "upstream": route.upstream.name,
        "endpoints": [endpoint.authority.decode() for endpoint in route.upstream.endpoints],
        "key_needed": bool(route.auth.places),
        "limits": [*route.limits, *(ladder.id for ladder in route.own_limits)],
        "cost": [f"{_reading(cost.reserve)} {cost.meter}" for cost in route.cost],
        "requires": sorted(route.requires),
        "on_store_failure": route.on_store_failure.value,
    }


def _segment(segment: Segment) -> str:
    if segment.is_rest:
        return "**"
    return "{}" if segment.literal is None else segment.literal.decode()


def _reading(reading: CostReading) -> str:
    default = "" if reading.default_micro is None else text_from_micro(reading.default_micro)
    if reading.source is CostSource.STATIC:
        return default
    is_header = reading.source is CostSource.HEADER
    where = reading.header.decode() if is_header else "/" + "/".join(reading.pointer)
    return f"{where} or {default}" if default else where
