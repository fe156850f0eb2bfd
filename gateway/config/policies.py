"""The route file's own limits: what may stand in them, what it means, and its default.

Source: design section 11; requirements B5, X3.
"""

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.model import Model, Name
from gateway.config.quantities import Seconds
from gateway.rules.address_groups import IPV4_BITS, IPV6_BITS


class AddressPrefixModel(Model):
    """Which client addresses are one: those that begin with the same bits."""

    ipv4: Annotated[int, Field(ge=1, le=32, description="Bits; 32 counts each address.")] = (
        IPV4_BITS
    )
    ipv6: Annotated[
        int,
        Field(
            ge=1, le=128, description="Bits; 64 is what the smallest site has, 128 each address."
        ),
    ] = IPV6_BITS


class PolicyModel(Model):
    """A limit of the route file itself, the same for all plans."""

    name: Annotated[Name, Field(description="Its name on the wire and in routes.")]
    kind: Annotated[
        Literal["rate", "quota"],
        Field(description="rate: never refunded; quota: refunded when not billable."),
    ] = "rate"
    meter: Annotated[Name, Field(description="What is counted; requests is one per call.")] = (
        "requests"
    )
    window: Annotated[
        Seconds | Literal["hour", "day", "calendar_month", "none"],
        Field(description="A number of seconds such as 60s, or a calendar period."),
    ]
    cap: Annotated[int, Field(ge=1, le=9_000_000_000, description="Units allowed per window.")]
    action: Annotated[
        Literal["block", "warn"], Field(description="Refuse (429), or pass and flag the record.")
    ] = "block"
    scope: Annotated[
        Literal["workspace", "key", "route", "address"],
        Field(
            description="Whose counter: workspace, key, workspace and route, workspace and address."
        ),
    ] = "workspace"
    address_prefix: Annotated[
        AddressPrefixModel | None,
        Field(description="With scope address: which addresses share a counter."),
    ] = None
