"""Who may open a tunnel on a route that limits them: asked before anything is charged or forwarded.

Source: docs/semantics.md; requirement X1.
"""

import asyncio
from typing import Final

from gateway.config.snapshot import TunnelRules
from gateway.errors import Refusal, RefusalCode
from gateway.proxy.active import RoutePlan
from gateway.proxy.books import Draft
from gateway.proxy.flow import Reading
from gateway.proxy.limited_tunnel import LimitedTunnel
from gateway.proxy.metered_tunnel import MeteredTunnel
from gateway.proxy.ports import Ports
from gateway.proxy.slices import Slices
from gateway.proxy.tunnel import Opening, Tunnel
from gateway.proxy.upstream import UpstreamConnection

_NO_PLACE: Final = ""


class LimitedOpening(Opening):
    """A tunnel that was admitted and waits for its 101."""

    __slots__ = ("_place", "_ports", "_rules", "_slices")

    def __init__(self, ports: Ports, rules: TunnelRules, place: str, slices: Slices | None) -> None:
        self._ports = ports
        self._rules = rules
        self._place = place
        self._slices = slices

    def tunnel(
        self, client: asyncio.Transport, client_reading: Reading, upstream: UpstreamConnection
    ) -> Tunnel:
        """Return the tunnel; the place is its own now."""
        ports, rules, slices = self._ports, self._rules, self._slices
        if slices is None or rules.meter is None:
            return LimitedTunnel(
                client,
                client_reading,
                upstream,
                rules,
                ports.loop,
                ports.tunnels,
                ports.stats.worker,
                self._place,
            )
        return MeteredTunnel(
            client,
            client_reading,
            upstream,
            rules,
            ports,
            ports.tunnels,
            self._place,
            slices,
            rules.meter.by,
        )

    def abandon(self) -> None:
        """Leave the place."""
        self._ports.tunnels.leave(self._place)


def admit_tunnel(draft: Draft, plan: RoutePlan, rules: TunnelRules, ports: Ports) -> Opening:
    """Give a tunnel its place.

    Raises:
        Refusal: ``TOO_MANY_TUNNELS``.
    """
    exchange, caller, place = draft.exchange, draft.caller, _NO_PLACE
    if rules.connections_max:
        holder = exchange.origin.group if caller is None else caller.entry.workspace_id
        place = f"{plan.route.name} {holder}"
        if not ports.tunnels.enter(place, rules.connections_max):
            raise Refusal(RefusalCode.TOO_MANY_TUNNELS)
    slices = None
    if rules.meter is not None and caller is not None:
        slices = Slices(exchange, caller.entry.key_hash, plan, rules.meter, ports)
    return LimitedOpening(ports, rules, place, slices)
