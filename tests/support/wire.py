"""One end of a TCP connection, byte by byte: what a test sends, what came, and how it ended."""

import asyncio
import socket
import struct

DEADLINE_SECONDS = 5.0
"""Only ever waited for by a test that fails."""
_READ_BYTES = 1 << 16
_LINGER_NOT = struct.pack("ii", 1, 0)


class Wire:
    """A raw socket, never read from unless a test asks for it.

    Attributes:
        received: Everything that was read, from the beginning.
        ended: How the other side ended: ``""`` (not yet), ``"fin"`` or ``"reset"``.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._taken = 0
        self.received = b""
        self.ended = ""

    @classmethod
    async def connect(cls, port: int, *, receive_buffer_bytes: int = 0) -> "Wire":
        """Return a connection to a port of this machine; a small buffer makes a slow reader."""
        sock = socket.socket()
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    async def send(self, data: bytes) -> None:
        """Send all of it; waits while the other side does not read."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def until(self, mark: bytes) -> bytes:
        """Return what came since the last call, up to and with a mark."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (found := self.received.find(mark, self._taken)) < 0:
                await self._read(f"waiting for {mark!r}")
        return self._take(found + len(mark))

    async def exactly(self, size: int) -> bytes:
        """Return the next so many bytes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.received) < self._taken + size:
                await self._read(f"waiting for {size} bytes")
        return self._take(self._taken + size)

    async def rest(self) -> bytes:
        """Return everything up to the end of the connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self.ended:
                await self._receive()
        return self._take(len(self.received))

    async def head(self) -> bytes:
        """Return a head."""
        return await self.until(b"\r\n\r\n")

    def silent(self) -> bool:
        """Return whether nothing is there to be read, not even an end."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return len(self.received) == self._taken
        except ConnectionResetError:
            return False
        return False

    def half_close(self) -> None:
        """Send a FIN; go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._socket.close()

    def close(self) -> None:
        """Close."""
        self._socket.close()

    @property
    def is_closed(self) -> bool:
        """Whether this side has closed."""
        return self._socket.fileno() < 0

    async def _read(self, wish: str) -> None:
        if self.ended:
            raise AssertionError(f"{self.ended} while {wish}; got {self.received[self._taken :]!r}")
        await self._receive()

    async def _receive(self) -> None:
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, _READ_BYTES)
        except ConnectionResetError:
            self.ended = "reset"
            return
        if not data:
            self.ended = "fin"
        self.received += data

    def _take(self, end: int) -> bytes:
        taken, self._taken = self.received[self._taken : end], end
        return taken


class Listener:
    """A listening socket of a service whose every byte the test plays."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._socket.setblocking(False)
        self.wires: list[Wire] = []

    def listen(self, backlog: int = 64) -> None:
        """Take connections from now on; before, they are refused."""
        self._socket.listen(backlog)

    def buffer(self, receive_bytes: int) -> None:
        """Keep the kernel from holding more than this of what nobody reads."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)

    async def accept(self) -> Wire:
        """Return the next connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        wire = Wire(sock)
        self.wires.append(wire)
        return wire

    def accepted(self) -> Wire | None:
        """Return a connection that waits to be accepted, if there is one."""
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return None
        return Wire(sock)

    def is_quiet(self) -> bool:
        """Return whether nobody waits to be accepted."""
        wire = self.accepted()
        if wire is not None:
            wire.close()
        return wire is None

    def close(self) -> None:
        """Close everything."""
        for wire in self.wires:
            wire.close()
        self._socket.close()
