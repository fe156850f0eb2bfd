"""What a stopping worker waits for: requests, the ends of connections, tunnels.

Source: requirements B11, X6; docs/operations.md (Stopping).
"""

import asyncio
from typing import Final

from gateway.proxy.connection import ClientConnection
from gateway.proxy.ports import Ports

DRAIN_LOOK_SECONDS: Final = 0.05
TUNNEL_END_SECONDS: Final = 0.5
"""For what tunnels still hold when ``drain`` is over."""


def is_busy(ports: Ports) -> bool:
    """Return whether a request is being served, or a tunnel has not ended yet."""
    return bool(ports.exchanges or ports.tunnels.open or ports.stats.worker.tunnels_open)


def clients_of(ports: Ports) -> list[ClientConnection]:
    """Return the connections of clients that are open."""
    return [each for each in ports.connections if isinstance(each, ClientConnection)]


def is_awaited(ports: Ports) -> bool:
    """Close connections on which nothing goes on; return whether one is worth waiting for."""
    now = ports.loop.time()
    awaited = [connection.leave(now) for connection in clients_of(ports)]
    return any(awaited)


async def end_tunnels(ports: Ports) -> None:
    """End the tunnels that the drain left; what they still hold goes out, within a bound."""
    ends = ports.loop.time() + TUNNEL_END_SECONDS
    for connection in clients_of(ports):
        connection.end_tunnel()
    while ports.stats.worker.tunnels_open and ports.loop.time() < ends:  # noqa: ASYNC110 - bounded
        await asyncio.sleep(DRAIN_LOOK_SECONDS)
