"""The listener that speaks TLS: it looks at the first byte of a connection before the handshake.

A client that speaks plain HTTP to it is answered in words (400) instead of being cut off. The byte
is peeked at, not read: OpenSSL finds the connection untouched, and once a connection stands nothing
of this is left on its way.
Source: RFC 8446 5.1 (record types); RFC 9112 2.2; docs/operations.md (TLS).
"""

import asyncio
import errno
import os
import socket
import ssl
import sys
from functools import partial
from typing import Final

import structlog

from gateway.clock import stopwatch_ns
from gateway.errors import Refusal, RefusalCode
from gateway.http.origins import address_of
from gateway.http.problems import render
from gateway.proxy.admission import Addresses
from gateway.proxy.connection import ClientConnection
from gateway.proxy.origins import Peer
from gateway.proxy.parting import LINGER_BYTES_MAX, LINGER_SECONDS
from gateway.proxy.ports import Ports
from gateway.tasks import spawn

ACCEPTED_AT_ONCE_MAX: Final = 64
"""Connections taken in one turn of the loop: others have their turn too."""
FULL_SECONDS: Final = 1.0
"""Between two tries to accept while the machine has no room for another connection."""
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PRINTABLE: Final = frozenset({*range(0x20, 0x7F), *b"\r\n"})
"""First bytes of HTTP. Records of TLS begin with 20 to 24, those of SSL 2 with 128 or more."""
_HEAD: Final = b"HEAD "
_ASKED_IN_PLAIN: Final = Refusal(
    RefusalCode.BAD_REQUEST, detail="Plain HTTP was sent to a port that speaks HTTPS."
)

_log = structlog.get_logger("tls")


class TlsListener:
    """Listens on the addresses of a server that was bound and does not serve.

    Args:
        ports: What connections need.
        server: Bound; this closes it.
        context: With which handshakes begin; each has the time of a head (``limits.head_time``).
        backlog: Connections that may wait to be accepted.

    Raises:
        OSError: an address is in use.
    """

    def __init__(
        self, ports: Ports, server: asyncio.Server, context: ssl.SSLContext, *, backlog: int
    ) -> None:
        self._ports = ports
        self._server = server
        self._context = context
        self._unread: set[asyncio.Task[None]] = set()
        self._begun: set[asyncio.Task[None]] = set()
        self._addresses = Addresses()
        self._listening = [socket.socket(fileno=os.dup(bound.fileno())) for bound in self.sockets]
        for listening in self._listening:
            listening.settimeout(0)
            listening.listen(backlog)
            ports.loop.add_reader(listening, self._accept, listening)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Those of the addresses."""
        return tuple(self._server.sockets)

    def close(self) -> None:
        """Take no connection any more; those that sent nothing yet are closed, handshakes go on."""
        for listening in self._listening:
            self._ports.loop.remove_reader(listening)
            listening.close()
        self._listening.clear()
        self._server.close()
        for task in self._unread:
            task.cancel()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE_MAX):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._wait_for_room(listening, error)
                return
            sock.settimeout(0)
            peer = Peer(address_of(address), b"https")
            if not self._has_room(peer):
                self._ports.stats.worker.connections_refused += 1
                sock.close()
                continue
            group = peer.origin.group
            self._addresses.enter(group, sys.maxsize)
            task = spawn(self._begin(sock), name="handshake")
            self._unread.add(task)
            task.add_done_callback(partial(self._ended, sock, group))

    def _ended(self, sock: socket.socket, group: str, task: asyncio.Task[None]) -> None:
        self._unread.discard(task)
        self._begun.discard(task)
        self._addresses.leave(group)
        if task.cancelled():
            sock.close()

    def _has_room(self, peer: Peer) -> bool:
        """Return whether there is room for one more, with those that have no connection yet."""
        ports, snapshot = self._ports, self._ports.active.snapshot
        clients_max = min(snapshot.limits.connections_max, ports.clients_max)
        if len(ports.connections) + len(self._unread) + len(self._begun) >= clients_max:
            return False
        bound, group = snapshot.limits.connections_per_address_max, peer.origin.group
        if not bound or peer.is_trusted(snapshot.trusted_proxies):
            return True
        return self._addresses.count(group) + ports.addresses.count(group) < bound

    def _wait_for_room(self, listening: socket.socket, error: OSError) -> None:
        loop = self._ports.loop
        _log.error("tls.accept_failed", reason=error.strerror, hint="raise the open files' limit")
        loop.remove_reader(listening)
        loop.call_later(FULL_SECONDS, self._accept_again, listening)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._listening:
            self._ports.loop.add_reader(listening, self._accept, listening)

    async def _begin(self, sock: socket.socket) -> None:
        """Find out what a client speaks, and go on in that."""
        loop, ports = self._ports.loop, self._ports
        ends = loop.time() + ports.active.snapshot.limits.head_seconds
        try:
            async with asyncio.timeout_at(ends):
                first = await _first_byte(loop, sock)
        except (OSError, TimeoutError):
            first = b""
        task = asyncio.current_task()
        if not first or task is None:
            sock.close()
            return
        self._unread.discard(task)
        self._begun.add(task)
        try:
            if first[0] in _PRINTABLE:
                visitor = PlainVisitor(ports)
                await loop.connect_accepted_socket(lambda: visitor, sock)
                await visitor.gone
                return
            await loop.connect_accepted_socket(
                lambda: ClientConnection(ports),
                sock,
                ssl=self._context,
                ssl_handshake_timeout=max(ends - loop.time(), 0.1),
            )
        except OSError:
            pass  # the handshake failed or took too long, and the connection is closed


async def _first_byte(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """Return the first byte, which stays unread; nothing if the client closes before.

    Raises:
        OSError: the connection is gone.
    """
    try:
        return sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        pass
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _set, readable)
    try:
        await readable
    finally:
        loop.remove_reader(sock)
    return sock.recv(1, socket.MSG_PEEK)


def _set(happened: asyncio.Future[None]) -> None:
    if not happened.done():
        happened.set_result(None)


class PlainVisitor(asyncio.Protocol):
    """A client that speaks plain HTTP where TLS is spoken: it gets one answer and is closed.

    Attributes:
        gone: Done once its connection is.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self.gone: asyncio.Future[None] = ports.loop.create_future()
        self._beginning = b""
        self._bytes = 0
        self._is_answered = False
        self._closing: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give it a moment, however slowly it sends."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's class is not a subclass
        self._ports.stats.worker.connections_accepted += 1
        self._closing = self._ports.loop.call_later(LINGER_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Answer what begins like HTTP; drop the rest, so that the answer is not torn down."""
        assert self._transport is not None
        self._bytes += len(data)
        if self._bytes > LINGER_BYTES_MAX:
            self._transport.abort()
        elif not self._is_answered:
            self._beginning += data
            if len(self._beginning) >= len(_HEAD) or not _HEAD.startswith(self._beginning):
                self._is_answered = True
                self._transport.write(self._answer(has_body=self._beginning[:5] != _HEAD))
                self._transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it
        """Forget it."""
        if self._closing is not None:
            self._closing.cancel()
        _set(self.gone)

    def _answer(self, *, has_body: bool) -> bytes:
        ports, worker = self._ports, self._ports.stats.worker
        worker.parse_errors += 1
        code = str(_ASKED_IN_PLAIN)
        worker.unrouted_refused[code] = worker.unrouted_refused.get(code, 0) + 1
        request_id = ports.event_ids.new(stopwatch_ns())
        problem = render(_ASKED_IN_PLAIN, request_id)
        return b"%bContent-Length: %d\r\nX-Request-Id: %b\r\n%bConnection: close\r\n\r\n%b" % (
            problem.start,
            len(problem.body),
            request_id.encode(),
            ports.date_line,
            problem.body if has_body else b"",
        )
