"""Every vector through the gateway: what becomes of it, and whether all parsers agree behind it.

For each: the gateway refuses with the right status and closes, or forwards just what was meant;
what it forwarded is read alike by every judge; the client gets as many answers as the service gave.
"""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from conformance.outcome import HERE, ROOT, Check, MissingToolError
from conformance.recorder import MARK, Recorder
from conformance.subject import running
from conformance.vector import Vector
from conformance.vectors import vectors

PYTHON: Final = ROOT / "build" / "conformance-judges" / "bin" / "python"
ANSWER_SECONDS: Final = 5.0
TOP: Final = "limits: {half_close: answer}"
"""Each vector ends with a FIN, so that what it leaves unfinished is not waited for."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 (?=[1-5][0-9][0-9] )")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a client got.

    Attributes:
        refusals: Statuses of the gateway's own answers.
        of_service: How many the service gave.
        is_closed: Whether the gateway closed in time.
    """

    refusals: list[int]
    of_service: int
    is_closed: bool


class Judges:
    """The other parsers, in a Python of their own."""

    def __init__(self) -> None:
        if not PYTHON.exists():
            raise MissingToolError("the parsers; tools/ensure_conformance.sh installs them")
        self._process = subprocess.Popen(
            [str(PYTHON), str(HERE / "judges.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seen(self, data: bytes) -> dict[str, list[list[str]]]:
        """Return the requests that each sees."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(data.decode("latin-1")) + "\n")
        self._process.stdin.flush()
        judged: dict[str, list[list[str]]] = json.loads(self._process.stdout.readline())
        return judged

    def close(self) -> None:
        """Let them go."""
        self._process.communicate()


def checks(only: str) -> Iterator[Check]:
    """Yield a check for each vector."""
    with (
        Recorder() as recorder,
        running("probes", upstream_port=recorder.port, top=TOP) as subject,
    ):
        judges = Judges()
        try:
            for vector in vectors():
                if only in vector.name:
                    yield _check(vector, subject.port, recorder, judges)
        finally:
            judges.close()


def _check(vector: Vector, port: int, recorder: Recorder, judges: Judges) -> Check:
    answers = _sent(port, vector.data)
    forwarded = recorder.take()
    faults = []
    expected = [vector.status] if vector.status else []
    if answers.refusals != expected:
        faults.append(f"refused with {answers.refusals}, not {expected}")
    if not answers.is_closed:
        faults.append("the connection stays open")
    seen = [judges.seen(data) for data in forwarded]
    for name in seen[0] if seen else ():
        requests = [request for judged in seen for request in judged[name]]
        targets = tuple(request[1] if len(request) > 1 else "?" for request in requests)
        if targets != vector.forwarded:
            faults.append(f"{name} sees {str(targets)[:200]}, not {str(vector.forwarded)[:200]}")
    if not seen and vector.forwarded:
        faults.append(f"nothing was forwarded, not {vector.forwarded}")
    if (
        len({json.dumps([judged[name] for judged in seen]) for name in (seen[0] if seen else ())})
        > 1
    ):
        faults.append("the judges disagree")
    if answers.of_service != len(vector.forwarded):
        faults.append(f"{answers.of_service} answers to {len(vector.forwarded)} requests")
    if faults:
        faults.append(
            f"sent {vector.data[:300]!r}, forwarded {[data[:600] for data in forwarded]!r}"
        )
    return Check("probes", vector.name, "\n".join(faults))


def _sent(port: int, data: bytes) -> Answers:
    """Send all of it, close this side, and read to the end."""
    received = b""
    is_closed = False
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            is_closed = True
        try:
            while part := sock.recv(1 << 16):
                received += part
            is_closed = True
        except ConnectionResetError:
            is_closed = True
        except TimeoutError:
            pass
    heads = [head for head in _STATUS_LINE.split(received)[1:] if not head.startswith(b"1")]
    own = [int(head[:3]) for head in heads if MARK not in head]
    return Answers(own, len(heads) - len(own), is_closed)
