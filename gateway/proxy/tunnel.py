"""An upgraded connection: bytes pass both ways until one side ends it.

Source: RFC 9110 7.8 (Upgrade), RFC 6455 1.3 (WebSocket handshake); requirement X1.
"""

import asyncio
from abc import abstractmethod

from gateway.http.frames import CloseCode
from gateway.proxy.flow import Reading
from gateway.proxy.upstream import UpstreamConnection


class Tunnel:
    """Joins a client's transport and an upstream connection after a 101."""

    __slots__ = ("_client", "_client_reading", "_upstream", "bytes_in", "bytes_out")

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
        upstream.write_resumed = self._upstream_resumed

    def begin(self, from_upstream: bytes, from_client: bytes) -> None:
        """Pass on what came behind the heads, and from now on what follows."""
        if from_upstream:
            self.from_upstream(from_upstream)
        if from_client:
            self.from_client(from_client)
        self._upstream.reading.resume("upgrade")

    def from_client(self, data: bytes) -> None:
        """Pass on what the client sent."""
        self.to_upstream(data)

    def from_upstream(self, data: bytes) -> None:
        """Pass on what the upstream sent; nothing means that it has ended."""
        if data:
            self.to_client(data)
        else:
            self._client.close()

    def to_upstream(self, data: bytes | memoryview) -> None:
        """Send something to the upstream; one that is slow is not sent more."""
        self.bytes_in += len(data)
        if self._upstream.is_closed:
            return
        self._upstream.transport.write(data)
        if self._upstream.write_paused:
            self._client_reading.pause("tunnel")

    def to_client(self, data: bytes | memoryview) -> None:
        """Send something to the client."""
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
        """End the upstream's side, with what was still to be sent: the client sends no more."""
        if not self._upstream.is_closed:
            self._upstream.transport.close()

    def client_lost(self) -> None:
        """Do the same: the client's connection is gone."""
        self.client_closed()

    def go_away(self, seconds: float) -> None:
        """The worker stops within so many seconds: nobody can be told, so bytes pass until then."""

    def end(self, code: CloseCode, why: str) -> None:  # noqa: ARG002 - of tunnels that know frames
        """End both sides, with what was still to be sent."""
        self._client.close()
        self.client_closed()

    def cut(self) -> None:
        """End both sides at once."""
        self._client.abort()
        self._upstream.abort()

    def _upstream_resumed(self) -> None:
        self._client_reading.resume("tunnel")


class Opening:
    """A tunnel that its route limits, before it begins: it has a place, and may never use it."""

    @abstractmethod
    def tunnel(
        self, client: asyncio.Transport, client_reading: Reading, upstream: UpstreamConnection
    ) -> Tunnel:
        """Return the tunnel."""
        raise NotImplementedError

    @abstractmethod
    def abandon(self) -> None:
        """Leave the place: there is no tunnel after all."""
        raise NotImplementedError
