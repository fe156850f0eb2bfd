"""A small service in a thread whose answers the test decides, request by request."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


class ScriptedUpstream:
    """Answers ``statuses`` in order, then 200; remembers what it saw.

    Attributes:
        headers: Added to every answer.
        seen: (method, path, fields) of each request.
        gate: Cleared, every answer waits for it.
    """

    def __init__(self) -> None:
        self.statuses: deque[int] = deque()
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.gate = threading.Event()
        self.gate.set()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                fields = {name.lower(): value for name, value in self.headers.items()}
                upstream.seen.append((self.command, self.path, fields))
                upstream.gate.wait(20)
                status = upstream.statuses.popleft() if upstream.statuses else 200
                body = b'{"ok":true}'
                self.send_response(status)
                for name, value in upstream.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - the library's names

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def reset(self) -> None:
        """Forget script and sightings."""
        self.statuses.clear()
        self.headers.clear()
        self.seen.clear()
        self.gate.set()

    @contextmanager
    def running(self) -> Iterator["ScriptedUpstream"]:
        """Serve for a while."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
