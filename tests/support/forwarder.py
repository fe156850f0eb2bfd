"""A TCP forwarder that can be pointed elsewhere, for new connections only: the old ones live on."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from selectors import EVENT_READ, DefaultSelector

LOCAL = "127.0.0.1"


class Forwarder:
    """Listens on a free port.

    Attributes:
        target: Port on this machine that the next connections are led to.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server((LOCAL, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @contextmanager
    def running(self) -> Iterator["Forwarder"]:
        """Forward until the block ends; then everything is closed."""
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield self
        finally:
            _shut(self._listener)
            accepting.join()
            self._listener.close()
            for client in self._clients:
                _shut(client)
            for thread in self._threads:
                thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            thread = threading.Thread(target=self._carry, args=(client, self.target))
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket, target: int) -> None:
        with (
            suppress(OSError),
            client,
            socket.create_connection((LOCAL, target)) as server,
            DefaultSelector() as readable,  # select() takes no descriptor from 1024 on
        ):
            for source, to in ((client, server), (server, client)):
                readable.register(source, EVENT_READ, (source, to))
            while True:
                for key, _ in readable.select():
                    source, to = key.data
                    data = source.recv(65_536)
                    if not data:
                        return
                    to.sendall(data)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
