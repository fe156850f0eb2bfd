"""The client behind each request of a connection: its peer, or whom a trusted proxy names.

Source: docs/semantics.md#client-addresses.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from gateway.http.addresses import Network
from gateway.http.forwarding import ClientOrigin
from gateway.http.origins import claimed_origin, is_trusted, peer_origin
from gateway.telemetry.metrics import WorkerStats

_SHOWN_BYTES_MAX: Final = 64
_NONE: Final[tuple[bytes, ...]] = ()

_log = structlog.get_logger("proxy")


class Peer:
    """The other end of a connection.

    Args:
        address: Canonical text.
        scheme: ``http`` or ``https``.

    Attributes:
        origin: What it is itself.
    """

    __slots__ = ("_is_trusted", "_networks", "origin")

    def __init__(self, address: str, scheme: bytes) -> None:
        self.origin = peer_origin(address, scheme)
        self._networks: Sequence[Network] = ()
        self._is_trusted = False

    def is_trusted(self, networks: Sequence[Network]) -> bool:
        """Return whether it is a trusted proxy; looked up once for each configuration."""
        if networks is not self._networks:
            self._is_trusted = is_trusted(self.origin.address, networks)
            self._networks = networks
        return self._is_trusted

    def origin_of(
        self,
        fields: Mapping[bytes, Sequence[bytes]],
        networks: Sequence[Network],
        stats: WorkerStats,
    ) -> ClientOrigin:
        """Return who sent a request.

        Args:
            fields: Values of its fields by lower-case name.
            networks: Of trusted proxies.
            stats: What can't be read is counted there.
        """
        if not self.is_trusted(networks):
            return self.origin
        named = fields.get(b"x-forwarded-for", _NONE)
        schemes = fields.get(b"x-forwarded-proto", _NONE)
        if not named and not schemes:
            return self.origin
        own = self.origin
        claim = claimed_origin(own.address, own.scheme, named, schemes, networks)
        if claim.unreadable:
            stats.forwarded_for_unreadable += 1
            if stats.forwarded_for_unreadable == 1:
                shown = claim.unreadable[:_SHOWN_BYTES_MAX].decode("ascii", "backslashreplace")
                _log.warning("proxy.forwarded_for_unreadable", proxy=own.address, entry=shown)
        return claim.origin
