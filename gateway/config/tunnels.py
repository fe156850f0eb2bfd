"""The route file's limits on tunnels: their models, what they mean, and their checks.

Source: RFC 6455; design section 11; requirement X3.
"""

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.model import Model
from gateway.config.quantities import Seconds
from gateway.config.snapshot import HALF_CLOSE_SECONDS, TunnelMeter, TunnelRules, TunnelUnit
from gateway.rules.identifiers import NAME_PATTERN


class TunnelMeterModel(Model):
    """How what passes in a tunnel is charged, both directions together."""

    meter: Annotated[
        str,
        Field(
            pattern=NAME_PATTERN,
            description="What is charged, as in cost.",
        ),
    ]
    by: Annotated[
        Literal["messages", "bytes", "seconds"],
        Field(
            description="WebSocket messages without control frames, bytes with all framing, or "
            "the time that the tunnel is open."
        ),
    ]
    per_unit: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000_000_000,
            description="How many messages, bytes or seconds make one unit of the meter.",
        ),
    ] = 1
    reserve: Annotated[
        int,
        Field(
            alias="slice",
            ge=1,
            le=1_000_000,
            description="Units that are reserved at once. Each slice is one charge and one record; "
            "what it did not use is given back.",
        ),
    ] = 1


class TunnelModel(Model):
    """What WebSocket tunnels of a route may do."""

    connections_per_workspace: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="Open tunnels of the route, of one workspace in a worker; on an open route "
            "of one client address. More are refused (429). 0 sets no bound.",
        ),
    ] = 0
    duration: Annotated[
        Seconds | None, Field(description="A tunnel is closed (1001) after this.")
    ] = None
    idle: Annotated[
        Seconds | None,
        Field(description="A tunnel in which nothing passed for so long is closed (1001)."),
    ] = None
    half_close: Annotated[
        Seconds,
        Field(
            description="Once one side has closed its own direction, the other is kept for so "
            "long. 0 closes both at once, as TLS does."
        ),
    ] = HALF_CLOSE_SECONDS
    meter: Annotated[
        TunnelMeterModel | None,
        Field(description="Charge what passes; a tunnel over a limit is closed (1008)."),
    ] = None


def rules_of(model: TunnelModel) -> TunnelRules:
    """Return what a route's tunnels may do."""
    meter = model.meter
    return TunnelRules(
        connections_max=model.connections_per_workspace,
        duration_seconds=model.duration or 0.0,
        idle_seconds=model.idle or 0.0,
        half_close_seconds=model.half_close,
        meter=(
            None
            if meter is None
            else TunnelMeter(meter.meter, TunnelUnit(meter.by), meter.per_unit, meter.reserve)
        ),
    )
