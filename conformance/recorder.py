"""A service that answers everything and remembers every byte that reached it."""

import socket
import threading
from types import TracebackType
from typing import Final, Self

import h11

MARK: Final = b"X-Origin"
"""Stands in every answer of the service and in none of the gateway's own."""
_READ_BYTES: Final = 1 << 16


class Recorder:
    """Listens on a port of its own; each connection has a thread."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._received: dict[int, bytes] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()

    def take(self) -> list[bytes]:
        """Return what has come since the last call, by connection, the oldest first."""
        with self._lock:
            received, self._received = self._received, {}
        return [data for _, data in sorted(received.items())]

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._answer_all(sock, number)
            except (OSError, h11.ProtocolError):
                return

    def _answer_all(self, sock: socket.socket, number: int) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    sock.sendall(
                        connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                        or b""
                    )
                data = sock.recv(_READ_BYTES)
                with self._lock:
                    self._received[number] = self._received.get(number, b"") + data
                connection.receive_data(data)
            elif isinstance(event, h11.EndOfMessage):
                answer = h11.Response(
                    status_code=200, headers=[(MARK, b"1"), (b"Content-Length", b"0")]
                )
                sent = connection.send(answer) or b""
                sock.sendall(sent + (connection.send(h11.EndOfMessage()) or b""))
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return
