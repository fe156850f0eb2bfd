"""What time does to a client's connection: one that rests is closed, one that stalls is refused.

Looked at by the one sweep, once a second.
Source: RFC 9112 9.5; RFC 9110 15.5.9 (408); docs/reference/configuration.md (limits).
"""

from abc import abstractmethod

from gateway.errors import Refusal, RefusalCode
from gateway.proxy.admission import BodyPace
from gateway.proxy.exchange import ClientSide, Exchange
from gateway.proxy.flow import reset, undelivered_bytes
from gateway.proxy.ports import Ports
from gateway.proxy.tunnel import Tunnel


class TimedClient(ClientSide):
    """A client's connection as far as it may take too long.

    Attributes:
        closes_at: When a connection that lingers is closed, by the loop's time; 0 for others.
        touched_at: When something last came over it.
    """

    __slots__ = (
        "_current", "_head_since", "_next", "_pace", "_ports", "_receiving", "_tunnel",
        "_unread_bytes", "closes_at", "touched_at",
    )  # fmt: skip

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports.loop)
        self._ports = ports
        self._current: Exchange | None = None
        self._next: Exchange | None = None
        self._receiving: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self._head_since = 0.0
        self._unread_bytes = 0
        self._pace = BodyPace()
        self.touched_at = 0.0
        self.closes_at = 0.0

    @abstractmethod
    def _refuse_rest(self, refusal: Refusal) -> None:
        """Refuse the request that is coming in; nothing behind it is looked at."""
        raise NotImplementedError

    @abstractmethod
    def _tell_next(self) -> None:
        """Begin the next request that waits."""
        raise NotImplementedError

    def is_idle_at(self, now: float) -> bool:
        """Return whether nothing is under way and the keep-alive time is over."""
        limits = self._ports.active.snapshot.limits
        if self._current is not None or self._next is not None or self._tunnel is not None:
            return False
        if self._head_since and not self.closes_at:
            return now - self._head_since > limits.head_seconds
        return now - self.touched_at > limits.keep_alive_seconds

    def close_idle(self, now: float) -> None:
        """Close a connection on which nothing goes on; a client that began a head gets a 408.

        A client to which nothing of its answer got through between two calls is cut off.
        """
        if self.transport.is_closing():
            unread_bytes = undelivered_bytes(self.transport)
            if unread_bytes == self._unread_bytes:
                reset(self.transport)
            self._unread_bytes = unread_bytes
        elif self._head_since and not self.closes_at:
            self._refuse_rest(Refusal(RefusalCode.REQUEST_TIMEOUT))
            self._tell_next()
        else:
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self._unread_bytes = undelivered_bytes(self.transport)
        self.closes_at = 0.0 if self.transport.is_closing() else self.closes_at
        self.touched_at = now

    def stalls_at(self, now: float) -> bool:
        """Return whether a body that is being received has stalled; called time and again.

        While the client waits for the gateway, its own time stands still. It does not while the
        gateway waits for it to read what it was answered before.
        """
        receiving = self._receiving
        if receiving is None or receiving.body_complete:
            if self._current is not None:
                self.touched_at = now
            return False
        limits = self._ports.active.snapshot.limits
        is_unread = self.write_paused and self._current is None
        if self.reading.is_paused and not is_unread:
            self.touched_at = now
            self._pace.stand_still(now)
            return False
        if now - self.touched_at > limits.body_idle_seconds:
            return True
        return self._pace.is_too_slow(
            receiving.event_id,
            receiving.body_bytes,
            now,
            bytes_per_second=limits.body_bytes_per_second_min,
            grace_seconds=limits.body_idle_seconds,
        )

    def stall(self) -> None:
        """Refuse a request whose body does not come (408)."""
        receiving = self._receiving
        if receiving is None or receiving is not self._current:
            self.transport.abort()
            return
        receiving.keep_alive = False
        receiving.refusal = Refusal(RefusalCode.REQUEST_TIMEOUT)
        if receiving.upstream is not None:
            receiving.upstream.fail("refused")
        receiving.resume()
