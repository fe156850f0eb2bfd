"""Where the worker listens for clients: several addresses, of both families, all or none.

A socket takes the connections of one family. What ``[::]`` takes on a machine where it could take
IPv4 too would differ from one system to the next, and ``0.0.0.0`` beside it could not be bound.
Source: RFC 3493 5.3 (IPV6_V6ONLY); docs/operations.md, Addresses.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final, Protocol

from gateway.config.loaded import Address
from gateway.errors import GatewayError

BACKLOG: Final = 4096
PORT_ATTEMPTS: Final = 8
"""A port that is free at one address of a name may be taken at another one."""
_NO_SUCH_FAMILY: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Listening(Protocol):
    """What takes the connections of a socket."""

    @property
    def sockets(self) -> Sequence[Any]:
        """Where it listens."""

    def close(self) -> None:
        """Take no further connections."""


async def listen(
    addresses: Sequence[Address], serve: Callable[[socket.socket], Awaitable[Listening]]
) -> list[Listening]:
    """Serve connections at all of these addresses.

    Args:
        addresses: Names mean all of their addresses; port 0 takes a free one.
        serve: Begins to serve a socket that is bound, which is its own from then on.

    Raises:
        GatewayError: an address can't be listened on; then none is.
    """
    servers: list[Listening] = []
    with ExitStack() as bound, ExitStack() as served:  # servers are closed before their sockets
        for address in addresses:
            try:
                for listener in await _sockets(address, bound):
                    server = await serve(listener)
                    served.callback(server.close)
                    servers.append(server)
            except OSError as error:
                raise GatewayError(
                    "worker.cannot_listen",
                    f"the gateway can't listen on {address}: {error.strerror or error}",
                    "stop what uses this address, or choose another with --listen",
                ) from error
        served.pop_all()
        bound.pop_all()
    return servers


def close(servers: Sequence[Listening]) -> None:
    """Take no further connections."""
    for server in servers:
        server.close()


def bound_addresses(servers: Sequence[Listening]) -> tuple[Address, ...]:
    """Return where servers listen, with the ports that they got."""
    names = [listener.getsockname() for server in servers for listener in server.sockets]
    return tuple(Address(name[0], name[1]) for name in names)


async def _sockets(address: Address, undo: ExitStack) -> list[socket.socket]:
    """Return a bound socket for each of an address's addresses, all of one port.

    Raises:
        OSError: one can't be bound. What a name means in a family that the machine does not have
            is left out.
    """
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    places = list(dict.fromkeys((family, where) for family, _, _, _, where in infos))
    for attempt in range(1, PORT_ATTEMPTS + 1):
        try:
            return _bound(places, undo)
        except OSError as error:
            may_help = error.errno == errno.EADDRINUSE and address.port == 0 and len(places) > 1
            if attempt == PORT_ATTEMPTS or not may_help:
                raise
    raise AssertionError("the last attempt returns or raises")


def _bound(places: Sequence[tuple[int, tuple[Any, ...]]], undo: ExitStack) -> list[socket.socket]:
    found: list[socket.socket] = []
    missing: OSError | None = None
    with ExitStack() as opened:
        for family, where in places:
            try:
                listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _bind(listener, family, where, found[0].getsockname()[1] if found else None)
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY or len(places) == 1:
                    raise
                missing = error
            else:
                found.append(listener)
        if not found and missing is not None:
            raise missing
        undo.push(opened.pop_all())
    return found


def _bind(listener: socket.socket, family: int, where: tuple[Any, ...], port: int | None) -> None:
    listener.settimeout(0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    host, own_port, *rest = where
    listener.bind((host, own_port if port is None else port, *rest))
