"""What became of a case on one way: answers, connection, and what the upstream got."""

import asyncio
import socket
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from conformance.differential.case import Case
from conformance.differential.recorder import SENTINEL, Received, Recorder

PATIENCE_SECONDS: Final = 3.0
"""Who says nothing for so long is told as waiting."""
SETTLE_SECONDS: Final = 2.0
FIELDS_TOLD_MAX: Final = 8
PIECE_BYTES_MAX: Final = 8000
"""What is not longer comes in one piece."""
OWN_FIELDS: Final = frozenset(
    {b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded",
     b"x-request-id", b"connection", b"content-length", b"transfer-encoding", b"host"}
)  # fmt: skip
"""Fields that a proxy writes itself; Host and framing are told apart."""

_ASK: Final = b"GET " + SENTINEL + b" HTTP/1.1\r\nHost: sentinel.test\r\n\r\n"
_NO_BODY: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Observation:
    """Three aspects, each in words that can be compared and read."""

    answer: str
    connection: str
    upstream: str


async def observe(case: Case, port: int, recorder: Recorder) -> Observation:
    """Send a case to a proxy and return what became of it."""
    recorder.taken()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    sending = asyncio.ensure_future(_send(writer, case.raw))
    try:
        statuses, ended = await _answers(reader, case)
        connection = "closed" if ended else await _asked_again(reader, writer)
    finally:
        sending.cancel()
        _reset(writer)
    return Observation(
        " ".join(statuses) or ("none, closed" if ended else "none, waits"),
        connection,
        _all_in_words(await _settled(recorder), case, recorder.port),
    )


async def _send(writer: asyncio.StreamWriter, raw: bytes) -> None:
    with suppress(ConnectionError):
        writer.write(raw)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, so that no proxy waits for more."""
    with suppress(OSError):  # it may be closed already
        made = writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _answers(reader: asyncio.StreamReader, case: Case) -> tuple[list[str], bool]:
    """Return the statuses of all answers, and whether the connection ended."""
    told: list[str] = []
    for number in range(case.answers):
        while True:
            status, ended = await _answer(reader, is_head=number in case.heads)
            if status:
                told.append(status)
            if ended or not status.startswith("1") or status == "101":
                break
        if ended or not status:
            return told, ended
    return told, False


async def _answer(reader: asyncio.StreamReader, *, is_head: bool) -> tuple[str, bool]:
    """Return one answer's status, marked where it was cut off, and whether the connection ended."""
    status = ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 "):
                return "without a head", True
            status = head.split(b" ", 2)[1].decode("latin-1")[:3]
            if is_head or status.startswith("1") or int(status) in _NO_BODY:
                return status, False
            return status, await _read_body(reader, head)
    except asyncio.IncompleteReadError as error:
        if status:
            return f"{status} cut off", True
        return ("without a head" if error.partial else ""), True
    except ConnectionError:
        return f"{status} cut off" if status else "", True
    except TimeoutError:
        return f"{status} and waits" if status else "", False


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> bool:
    """Read a body; return whether its end was that of the connection."""
    pairs = [line.partition(b":") for line in head[:-4].split(b"\r\n")[1:]]
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    if fields.get(b"transfer-encoding") == b"chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return False
    if b"content-length" in fields:
        await reader.readexactly(int(fields[b"content-length"]))
        return False
    await reader.read(-1)
    return True


async def _asked_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Return whether the connection still serves, by asking for something harmless."""
    await _send(writer, _ASK)
    status, ended = await _answer(reader, is_head=False)
    if status == "200":
        return "kept"
    if status:
        return f"kept, what follows is {status}"
    return "closed" if ended else "waits"


async def _settled(recorder: Recorder) -> list[Received]:
    """Return the whole requests once those under way have ended or been given up."""
    with suppress(TimeoutError):
        await asyncio.wait_for(recorder.rest(), SETTLE_SECONDS)
    return recorder.taken()


def _all_in_words(requests: list[Received], case: Case, port: int) -> str:
    """Return a line a request; equal ones in a row are counted.

    How nginx frames a long chunked body depends on how much of it came at once: that is not told.
    """
    if len(case.raw) > PIECE_BYTES_MAX:
        for request in requests:
            request.framing = "a long body" if request.body else request.framing
    lines = []
    for line, equal in groupby(map(_in_words, requests)):
        times = len(list(equal))
        lines.append(line if times == 1 else f"{times} times {line}")
    return "\n".join(lines).replace(f"127.0.0.1:{port}", "(the endpoint)") or "nothing"


def _in_words(request: Received) -> str:
    hosts = [value for name, value in request.fields if name.lower() == b"host"]
    others = [
        f"{_text(name)}: {_text(value)}"
        for name, value in request.fields
        if name.lower() not in OWN_FIELDS
    ]
    if len(others) > FIELDS_TOLD_MAX:
        digest = zlib.crc32("\n".join(others).encode())
        others = [f"{len(others)} fields from {others[0]} to {others[-1]} ({digest:08x})"]
    host = f"Host: {', '.join(map(_text, hosts))}" if hosts else "no Host"
    words = [_text(request.line), host, *others]
    words.append(request.framing + (f" {_text(bytes(request.body))}" if request.body else ""))
    if request.trailers:
        words.append(f"trailers {_text(request.trailers)}")
    return " | ".join(words)


def _text(raw: bytes) -> str:
    """Return bytes as printable text; what is long is told by its beginning and its length."""
    text = raw.decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(text) <= 80 else f"{text[:40]}... ({len(raw)} bytes)"
