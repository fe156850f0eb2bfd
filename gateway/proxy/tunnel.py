"""An upgraded connection: bytes pass both ways until one side ends it.

Source: RFC 9110 7.8 (Upgrade), RFC 6455 1.3 (WebSocket handshake); requirement X1.
"""

import asyncio

from gateway.proxy.flow import Reading
from gateway.proxy.upstream import UpstreamConnection


class Tunnel:
    """Joins a client's transport and an upstream connection after a 101."""

    __slots__ = ("_client", "_client_reading", "_upstream", "bytes_in", "bytes_out", "touched_at")

    def __init__(
        self,
        client: asyncio.Transport,
        client_reading: Reading,
        upstream: UpstreamConnection,
    ) -> None:
        self._client = client
        self._client_reading = client_reading
        self._upstream = upstream
        self.bytes_in = 0
        self.bytes_out = 0
        upstream.tunnel = self.from_upstream
        upstream.write_resumed = lambda: client_reading.resume("tunnel")

    def from_client(self, data: bytes) -> None:
        """Pass on what the client sent."""
        self.bytes_in += len(data)
        if self._upstream.is_closed:
            return
        self._upstream.transport.write(data)
        if self._upstream.write_paused:
            self._client_reading.pause("tunnel")

    def from_upstream(self, data: bytes) -> None:
        """Pass on what the upstream sent; nothing means that it has ended."""
        if not data:
            self._client.close()
            return
        self.bytes_out += len(data)
        if not self._client.is_closing():
            self._client.write(data)

    def client_paused(self) -> None:
        """Stop reading from the upstream: the client is slow."""
        self._upstream.reading.pause("tunnel")

    def client_resumed(self) -> None:
        """Read from the upstream again."""
        self._upstream.reading.resume("tunnel")

    def client_closed(self) -> None:
        """End the upstream's side, with what was still to be sent."""
        if not self._upstream.is_closed:
            self._upstream.transport.close()
