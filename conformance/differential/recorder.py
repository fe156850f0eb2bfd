"""The upstream behind both: writes down what reaches it, byte for byte, and answers by the path.

It reads only what is framed without doubt; anything else that a proxy sent would be told as broken.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Self

HEAD_BYTES_MAX: Final = 4 * 1024 * 1024
SENTINEL: Final = b"/sentinel"
"""Path of the request that asks whether a connection still serves; not written down."""

_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
_LENGTH_0: Final = b"Content-Length: 0\r\n\r\n"
_TWO_CHUNKS: Final = b"5\r\nhello\r\n7\r\n, world\r\n0\r\n"

ANSWERS: Final[dict[bytes, bytes]] = {
    b"204": b"HTTP/1.1 204 No Content\r\n\r\n",
    b"204-length": b"HTTP/1.1 204 No Content\r\n" + _LENGTH_0,
    b"304": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    b"304-length": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 100\r\n\r\n',
    b"404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
    b"500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno",
    b"999": b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nno",
    b"chunked": _CHUNKED + b"\r\n" + _TWO_CHUNKS + b"\r\n",
    b"trailer": _CHUNKED + b"Trailer: X-Sum\r\n\r\n" + _TWO_CHUNKS + b"X-Sum: 1\r\n\r\n",
    b"close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    b"close-head": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    b"interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" + _OK,
    b"keep-alive": b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n"
    + _LENGTH_0,
    b"long": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"a" * 200_000,
    b"length": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    b"empty": b"HTTP/1.1 200 OK\r\n" + _LENGTH_0,
    b"reason": b"HTTP/1.1 200 All is well\r\n" + _LENGTH_0,
    b"no-reason": b"HTTP/1.1 200 \r\n" + _LENGTH_0,
    b"cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-A: 1\r\nSet-Cookie: b=2\r\n" + _LENGTH_0,
    b"hop-by-hop": b"HTTP/1.1 200 OK\r\nConnection: X-Drop\r\nX-Drop: 1\r\nX-Stay: 2\r\n"
    b"Proxy-Connection: close\r\nUpgrade: h2c\r\n" + _LENGTH_0,
    b"http-1.0": b"HTTP/1.0 200 OK\r\n\r\nold",
    b"lf-only": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"folded": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\n" + _LENGTH_0,
    b"two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nok!",
    b"same-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"length-and-chunked": _CHUNKED + b"Content-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"length-letters": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    b"broken-off": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart of it",
    b"chunks-broken-off": _CHUNKED + b"\r\n5\r\nhello\r\n",
    b"bad-chunk": _CHUNKED + b"\r\n5\r\nhello\r\nxyz\r\n",
    b"nothing": b"",
    b"rubbish": b"220 mail.test ESMTP\r\n\r\n",
    b"blank-before-colon": b"HTTP/1.1 200 OK\r\nX-A : 1\r\n" + _LENGTH_0,
    b"no-colon": b"HTTP/1.1 200 OK\r\nX-A\r\n" + _LENGTH_0,
    b"nul": b"HTTP/1.1 200 OK\r\nX-A: \x00\r\n" + _LENGTH_0,
    b"too-much": _OK + b" and more",
    b"status-99": b"HTTP/1.1 99 Low\r\n" + _LENGTH_0,
    b"unasked-101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
    b"Upgrade: foo\r\n\r\n",
    b"gzip-coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n",
    b"long-head": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 20_000 + b"\r\n" + _LENGTH_0,
    b"early": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
}
"""Answers by the last segment of ``/answer/...``."""
CLOSING: Final = frozenset(
    {b"close", b"close-head", b"http-1.0", b"broken-off", b"chunks-broken-off", b"nothing",
     b"rubbish", b"early"}
)  # fmt: skip
"""Those behind which the upstream closes."""


@dataclass(slots=True)
class Received:
    """One request as it reached the upstream."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    framing: str = "no body"
    body: bytearray = field(default_factory=bytearray)
    trailers: bytes = b""
    is_complete: bool = False


class Recorder:
    """Listens on a port of its own and writes down requests."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._busy = 0
        self._rests = asyncio.Event()
        self._rests.set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._open):
            writer.transport.abort()

    async def rest(self) -> None:
        """Wait until every request that has begun is whole or given up."""
        await self._rests.wait()

    def taken(self) -> list[Received]:
        """Return what was received since the last time, whole requests only."""
        taken, self.received = self.received, []
        return [each for each in taken if each.is_complete]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].split(b"\r\n")
        pairs = [each.partition(b":") for each in lines]
        request = Received(line, [(name, value.strip(b" ")) for name, _, value in pairs])
        method, target, _ = line.split(b" ")
        kind = target.removeprefix(b"/answer/") if target.startswith(b"/answer/") else b""
        if target != SENTINEL:
            self.received.append(request)
        values = {name.lower(): value for name, value in request.fields}
        if kind == b"early":
            request.is_complete = True
        else:
            if values.get(b"expect", b"").lower() == b"100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._busy += 1
            self._rests.clear()
            try:
                await _read_body(request, values, reader)
            finally:
                self._busy -= 1
                if not self._busy:
                    self._rests.set()
        answer = ANSWERS.get(kind, _OK)
        if values.get(b"upgrade", b"").lower() == b"websocket":
            answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            answer += b"Upgrade: websocket\r\n\r\n"
            kind = b"close"
        if method == b"HEAD":
            answer = answer[: answer.find(b"\r\n\r\n") + 4]
        writer.write(answer)
        await writer.drain()
        return kind not in CLOSING


async def _read_body(
    request: Received, values: dict[bytes, bytes], reader: asyncio.StreamReader
) -> None:
    lengths = [value for name, value in request.fields if name.lower() == b"content-length"]
    coding = values.get(b"transfer-encoding")
    if coding is not None and (coding != b"chunked" or lengths):
        request.framing = "broken framing"
        raise ValueError(coding)
    if coding is not None:
        request.framing = "chunked"
        await _read_chunks(request, reader)
    elif lengths:
        request.framing = f"length {', '.join(length.decode() for length in lengths)}"
        request.body += await reader.readexactly(int(lengths[0]))
    request.is_complete = True


async def _read_chunks(request: Received, reader: asyncio.StreamReader) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line[:-2], 16)
        if not size:
            break
        request.body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise ValueError("a chunk without an end")
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        request.trailers += line
