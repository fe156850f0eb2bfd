"""The addresses of an upstream's host names: looked up once, refreshed in the background.

The last good answer is kept while the resolver fails; literal addresses are never looked up.
Source: requirement C12; docs/operations.md.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Final

import structlog

from gateway.tasks import spawn
from gateway.telemetry.metrics import WorkerStats

Lookup = Callable[[str], Awaitable[list[str]]]
"""Gives the addresses of a host name, best first.

Raises:
    OSError: it has none, or the resolver does not answer.
"""

_log = structlog.get_logger("proxy")

_STREAM: Final = socket.SOCK_STREAM


async def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver, in a thread of the loop's."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_literal(host: str) -> bool:
    """Return whether a host is an IP address, which needs no look-up."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class Names:
    """What an upstream's host names stand for.

    Args:
        upstream: Its name, for the log.
        hosts: Host names, no literal addresses.
        changed: Told of a host whose addresses are others than before, with the new ones.
        turn: Where to begin among several addresses; workers should differ.
        lookup: Asks the resolver.
    """

    def __init__(
        self,
        upstream: str,
        hosts: Iterable[str],
        stats: WorkerStats,
        changed: Callable[[str, frozenset[str]], None],
        turn: int,
        lookup: Lookup,
    ) -> None:
        self._upstream = upstream
        self._hosts = frozenset(hosts)
        self._stats = stats
        self._changed = changed
        self._turn = turn
        self._lookup = lookup
        self._known: dict[str, list[str]] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._lost: set[str] = set()
        """Names whose last look-up failed."""
        self._failed: set[tuple[str, str]] = set()
        """Host and address of connections that failed since the last look-up."""

    def holds(self, host: str) -> bool:
        """Return whether a host is one of these names."""
        return host in self._hosts

    def stands(self, host: str, address: str) -> bool:
        """Return whether an address was among the last that were told."""
        return address in self._known.get(host, ())

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses in the order in which to try them now.

        Raises:
            OSError: none was ever told.
        """
        if host not in self._known:
            await asyncio.shield(self._look(host))
        known = self._known.get(host)
        if known is None:
            raise OSError(f"no address of {host} is known")
        first = self._turn % len(known)
        self._turn += 1
        in_turn = known[first:] + known[:first]
        return sorted(in_turn, key=lambda address: (host, address) in self._failed)

    def failed(self, host: str, address: str) -> None:
        """Note that no connection was to be had; it is tried last until the next look-up."""
        self._failed.add((host, address))

    async def keep_fresh(
        self,
        every_seconds: float,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Look all names up, now and again, until cancelled; 0 seconds never again."""
        while True:
            await asyncio.gather(*[asyncio.shield(self._look(host)) for host in self._hosts])
            if not every_seconds:
                return
            await wait(every_seconds)

    def _look(self, host: str) -> "asyncio.Task[None]":
        """Return the one look-up of a name that is under way: a slow resolver is asked once."""
        looking = self._looking.get(host)
        if looking is None:
            looking = self._looking[host] = spawn(self._refresh(host), name="resolve")
        return looking

    async def _refresh(self, host: str) -> None:
        try:
            told = await self._lookup(host)
        except (OSError, UnicodeError):
            told = []
        finally:
            del self._looking[host]
        if not told:
            self._lose(host)
            return
        if host in self._lost:
            self._lost.discard(host)
            _log.info("upstream.name_resolved", upstream=self._upstream, host=host)
        self._failed = {failure for failure in self._failed if failure[0] != host}
        former = self._known.get(host)
        self._known[host] = told
        if former is not None and set(former) != set(told):
            self._changed(host, frozenset(told))

    def _lose(self, host: str) -> None:
        self._stats.upstream_resolve_errors += 1
        if host not in self._lost:
            self._lost.add(host)
            _log.warning("upstream.name_unresolved", upstream=self._upstream, host=host)
