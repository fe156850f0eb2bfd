"""``python -m bench.paced``: one run, as JSON on stdout. The bench starts it as a process.

With ``--wait`` it connects, warms up, prints ``warm``, and begins when a line comes in.
"""

import argparse
import json
import socket
import sys
import time
from collections.abc import Sequence

from bench.paced.answers import Answers, EchoAnswers, HttpAnswers, masked
from bench.paced.drive import Line, Seen, drive

PAYLOAD = b"0123456789abcdef" * 4
WARM_UP_SECONDS = 0.5


def main() -> int:
    """Connect, warm up, drive, print."""
    options = _options()
    head = f"{options.method} {options.path} HTTP/1.1\r\nHost: 127.0.0.1:{options.port}\r\n"
    head += "".join(f"{line}\r\n" for line in options.header)
    if options.websocket:
        head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    message = masked(PAYLOAD) if options.websocket else f"{head}\r\n".encode()
    lines = [_connect(options, f"{head}\r\n".encode()) for _ in range(options.connections)]
    drive(lines, message, options.rate, max(WARM_UP_SECONDS, options.connections / options.rate))
    if options.wait:
        print("warm", flush=True)
        sys.stdin.readline()
    before = time.process_time()
    seen = drive(lines, message, options.rate, options.seconds)
    print(json.dumps(figures(seen, time.process_time() - before)))
    return 0


def figures(seen: Seen, own_cpu_seconds: float) -> dict[str, float]:
    """Return what is told of a run; seconds."""
    return {
        "requests": len(seen.latencies_ns) - seen.unanswered,
        "failed": seen.wrong + seen.unanswered,
        "p50_seconds": percentile(seen.latencies_ns, 50),
        "p99_seconds": percentile(seen.latencies_ns, 99),
        "p999_seconds": percentile(seen.latencies_ns, 99.9),
        "own_lag_p99_seconds": percentile(seen.lags_ns, 99),
        "own_cpu_seconds": own_cpu_seconds,
        "read_bytes": seen.read_bytes,
    }


def percentile(ordered_ns: Sequence[int], percent: float) -> float:
    """Return the value, in seconds, that so many percent are not above; 0 of none."""
    if not ordered_ns:
        return 0.0
    index = min(len(ordered_ns) - 1, int(len(ordered_ns) * percent / 100))
    return ordered_ns[index] / 1e9


def _connect(options: argparse.Namespace, handshake: bytes) -> Line:
    link = socket.create_connection(("127.0.0.1", options.port), timeout=10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers: Answers = HttpAnswers(options.status)
    if options.websocket:
        link.sendall(handshake)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            data = link.recv(4096)
            if not data:
                break
            answer += data
        if not answer.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(f"no WebSocket: {answer[:300]!r}")
        answers = EchoAnswers(PAYLOAD)
    return Line(link, answers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.paced", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--header", action="append", default=[], help="a field's line")
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float, required=True, help="requests a second, in all")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--websocket", action="store_true", help="echoed messages, not requests")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
