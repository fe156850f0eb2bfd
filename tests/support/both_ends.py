"""A running gateway of which the test plays the client and the upstream, plain or over TLS."""

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from gateway.ledger.port import Ledger
from gateway.process.wiring import open_ledger
from gateway.rules.record import Record
from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.redis_tls import make_certificate

ROUTES = """\
- {name: cancelled, match: {methods: [POST], path: /cancelled}, upstream: app, client_gone: cancel}
- name: settled
  match: {methods: [POST], path: /settled}
  upstream: app
  cost: {dc: {reserve: 5, settle: {json: /used}}}
- {name: all, match: {methods: [GET, HEAD, OPTIONS, POST, DELETE], path: "/**"}, upstream: app}
"""
CLOSE = b"Connection: close\r\n\r\n"
"""Each row plays an upstream connection of its own."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + CLOSE + b"ok"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" + CLOSE
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n" + CLOSE
)
SECONDS = 3.0

Billed = tuple[int, str, bool, str]
FREE: Billed = (499, "client_gone", False, "client_gone")
FINISHED: Billed = (200, "client_gone", True, "success")
ABANDONED: Billed = (499, "client_gone", True, "abandoned")
COMPLETED: Billed = (200, "completed", True, "success")
UNBILLED: Billed = (404, "client_gone", False, "http_404")
LENGTH_4 = "Content-Length: 4\r\n"

WAYS = {
    "plain": ["fin", "close", "reset"],
    "tls": ["close_notify", "fin", "close", "reset"],
}


@dataclass
class Place:
    """A running gateway, a socket in the place of its upstream, and a key."""

    gateway: GatewayProcess
    listener: socket.socket
    key: str
    tls: ssl.SSLContext | None
    ledger: Ledger
    numbers: Iterator[int] = field(default_factory=count)

    def connect(self) -> socket.socket:
        """Return a client's connection."""
        plain = socket.create_connection(("127.0.0.1", self.gateway.port), timeout=SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return (
            plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname="localhost")
        )

    def upstream(self) -> socket.socket:
        """Return the next connection of the gateway's."""
        wire, _ = self.listener.accept()
        wire.settimeout(SECONDS)
        return wire

    def head(self, start: str, fields: str, *, has_key: bool = True) -> tuple[str, bytes]:
        """Return a request's id and head."""
        request_id = f"row-{next(self.numbers)}"
        lines = f"Host: a\r\nX-Request-Id: {request_id}\r\n{fields}"
        if has_key:
            lines += f"X-API-Key: {self.key}\r\n"
        return request_id, f"{start}\r\n{lines}\r\n".encode()

    def socket_of(self, client: socket.socket) -> str:
        """Return what the gateway's side of a connection is called among its open files."""
        ends = [f"0100007F:{port:04X}" for port in (self.gateway.port, client.getsockname()[1])]

        def found() -> str:
            for line in Path("/proc/net/tcp").read_text().splitlines():
                if line.split()[1:3] == ends and line.split()[9] != "0":  # accepted by now
                    return f"socket:[{line.split()[9]}]"
            return ""

        name: str = wait_until(found)
        return name

    def has_closed(self, name: str) -> bool:
        """Return whether the gateway has closed a file of that name: it has noticed something."""
        assert self.gateway.process is not None
        folder = Path(f"/proc/{self.gateway.process.pid}/fd")
        for file in folder.iterdir():
            with suppress(FileNotFoundError):
                if file.readlink() == Path(name):
                    return False
        return True

    def records(self) -> list[Record]:
        """Return the ledger's events."""
        return list(self.ledger.events(workspace_id=None, period=None, limit=100_000))

    def record(self, request_id: str) -> Record:
        """Return a request's one record, waited for."""
        found: list[Record] = wait_until(
            lambda: [r for r in self.records() if r.request_id == request_id]
        )
        (record,) = found
        return record


def place(folder: Path, *, tls: bool, top: str = "") -> Iterator[Place]:
    """Run a gateway of which the test plays both sides."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(SECONDS)
    context = None
    if tls:
        make_certificate(folder)
        context = ssl.create_default_context(cafile=folder / "certificate.pem")
        top += "\ntls_certificate: certificate.pem\ntls_key: key.pem"
    gateway = GatewayProcess(folder, listener.getsockname()[1], routes=ROUTES, top=top)
    key = gateway.make_key("GROWTH")
    gateway.start()
    ledger = open_ledger(gateway.loaded().settings)
    yield Place(gateway, listener, key, context, ledger)
    listener.close()
    ledger.close()
    assert gateway.stop() == 0
    assert "story_failed" not in gateway.events()


def until(wire: socket.socket, mark: bytes) -> bytes:
    """Return what came up to a mark."""
    came = b""
    while mark not in came:
        piece = wire.recv(65_536)
        assert piece, f"ended after {came!r}"
        came += piece
    return came


def rest(wire: socket.socket) -> bytes:
    """Return what comes to the end, however it ends."""
    came = b""
    with suppress(ConnectionResetError, ssl.SSLError):
        while piece := wire.recv(65_536):
            came += piece
    return came


def leave(client: socket.socket, way: str) -> None:
    """Let a client go."""
    if way == "close_notify":
        assert isinstance(client, ssl.SSLSocket)
        client.settimeout(1)
        with suppress(OSError):  # the gateway may still have something to say
            client.unwrap()
    elif way == "fin":
        client.shutdown(socket.SHUT_WR)
    else:
        if way == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def books(record: Record) -> Billed:
    return (record.status, record.outcome, record.billable, record.reason)
