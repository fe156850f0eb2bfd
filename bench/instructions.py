"""``python -m bench.instructions``: instructions of a worker per request, counted by callgrind.

No neighbour on the machine disturbs the figure. The worker runs twice under valgrind, with few and
with many requests; the difference is what the requests took, start and stop are in both. Requests
go round over four connections, one at a time, so each record is written by itself.
"""

import argparse
import json
import re
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from bench.peers.gateway import Gateway

CONNECTIONS = 4
FEW = 300
"""Enough for all that is made once: caches filled, connections opened, scripts loaded."""
BODY = b'{"status":"ok","id":"' + b"0" * 60 + b'"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(BODY), BODY)
)
CALLERS = {"passed": "", "refused-by-rate": "limited", "refused-by-key": "unknown"}
"""What is asked, by whom: names of ``bench/scenarios``, and the caller among those of the peer."""
_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


class CountedGateway(Gateway):
    """The gateway over Redis, run under callgrind."""

    name = "gateway-counted"
    start_seconds = 180.0

    def __init__(self, counts: Path) -> None:
        self.launcher = (
            *("valgrind", "--tool=callgrind", "--quiet", "--trace-children=yes"),
            f"--callgrind-out-file={counts}/%p.out",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, and print JSON: instructions per request by scenario."""
    parser = argparse.ArgumentParser(prog="bench.instructions", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="requests of the longer run")
    parser.add_argument("--scenarios", nargs="+", choices=CALLERS, default=list(CALLERS))
    options = parser.parse_args(arguments)
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed: apt-get install valgrind")
    found = {name: counted(CALLERS[name], options.requests) for name in options.scenarios}
    print(json.dumps(found, indent=2))
    return 0


def counted(caller: str, requests: int) -> int:
    """Return how many instructions one request of a caller takes."""
    few, many = (_run(caller, count) for count in (FEW, FEW + requests))
    return (many - few) // requests


def total_of(counts: str) -> int:
    """Return the sum of a file that callgrind wrote.

    Raises:
        ValueError: it has none.
    """
    found = _TOTAL.findall(counts)
    if not found:
        raise ValueError("callgrind wrote no total")
    return int(found[-1])


def _run(caller: str, requests: int) -> int:
    with tempfile.TemporaryDirectory() as name, Upstream() as upstream:
        folder = Path(name)
        peer = CountedGateway(folder)
        running = peer.start(folder / "gateway", upstream.port)
        try:
            headers = running.callers[caller] if caller else running.headers
            ask(running.port, headers, requests)
        finally:
            worker = running.processes[peer.name]
            worker.terminate()
            worker.wait(timeout=peer.start_seconds)  # it writes its counts at the end
            running.stop()
        sys.stderr.write(f"{requests} requests of {caller or 'the key'} counted\n")
        return total_of((folder / f"{worker.pid}.out").read_text())


def ask(port: int, headers: dict[str, str], requests: int) -> None:
    """Send requests in turn over some connections, each when the one before is answered."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    message = f"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}\r\n".encode()
    links = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(CONNECTIONS)]
    try:
        for index in range(requests):
            link = links[index % CONNECTIONS]
            link.sendall(message)
            _read_answer(link)
    finally:
        for link in links:
            link.close()


def _read_answer(link: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(link)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    missing_bytes = int(length[1]) - len(body) if length else 0
    while missing_bytes > 0:
        missing_bytes -= len(_more(link))


def _more(link: socket.socket) -> bytes:
    data = link.recv(65_536)
    if not data:
        raise ConnectionError("the gateway closed the connection")
    return data


class Upstream:
    """A server of constant answers, a thread for each connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                threading.Thread(target=_serve, args=(link,), daemon=True).start()


def _serve(link: socket.socket) -> None:
    with suppress(OSError), link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := link.recv(65_536):
            link.sendall(ANSWER * data.count(b"\r\n\r\n"))


if __name__ == "__main__":
    sys.exit(main())
