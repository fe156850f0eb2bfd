"""Which clients have left, asked of the kernel: an event loop that does not read is told nothing.

While reading is paused neither uvloop nor asyncio reports a FIN or an RST, and one of both may lie
behind unread bytes. ``poll`` sees them all the same. Where a system has no
``POLLRDHUP`` (macOS), only what breaks a write is noticed.
Source: poll(2); docs/decisions/0025-clients-that-leave.md.
"""

import asyncio
import select
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

_FIN: Final[int] = getattr(select, "POLLRDHUP", 0)
_RESET: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Watched(Protocol):
    """A connection whose client may have left unnoticed."""

    transport: asyncio.Transport


_Any = TypeVar("_Any", bound=Watched)


def departed(connections: Sequence[_Any]) -> list[tuple[_Any, bool]]:
    """Return those whose clients have left, each with whether it was by an RST.

    One call of the kernel for all; nothing is kept between two calls.
    """
    if not (_FIN and connections):
        return []
    poller = select.poll()
    by_descriptor: dict[int, _Any] = {}
    for connection in connections:
        descriptor = _descriptor_of(connection.transport)
        if descriptor >= 0:
            by_descriptor[descriptor] = connection
            poller.register(descriptor, _FIN)
    return [
        (by_descriptor[descriptor], bool(events & _RESET)) for descriptor, events in poller.poll(0)
    ]


def has_departed(transport: asyncio.Transport, *, by_fin: bool) -> bool:
    """Return whether the client of one connection has left.

    Args:
        transport: Of the connection.
        by_fin: Whether a FIN counts; an RST always does.
    """
    descriptor = _descriptor_of(transport)
    if not _FIN or descriptor < 0:
        return transport.is_closing()
    poller = select.poll()
    poller.register(descriptor, _FIN)
    for _, events in poller.poll(0):
        return by_fin or bool(events & _RESET)
    return False


def _descriptor_of(transport: asyncio.Transport) -> int:
    """Return the socket's descriptor; -1 if the transport has none any more."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.is_closing():
        return -1
    descriptor: int = sock.fileno()
    return descriptor
