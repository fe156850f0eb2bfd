"""Both ends of raw HTTP: an upstream that answers at wire speed, a client that pipelines."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PIPELINED = 32
"""Requests under way at once; the gateway's own bound on a connection."""


class RawUpstream(asyncio.Protocol):
    """Answers each head that it sees, byte by byte as told; takes no bodies.

    Args:
        answer: What is sent for each request.
        then_close: Whether the connection is closed after it.
        transports: All connections, to be closed at the end.
    """

    def __init__(
        self, answer: bytes, *, then_close: bool, transports: list[asyncio.Transport]
    ) -> None:
        self._answer = answer
        self._then_close = then_close
        self._transports = transports
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._transports.append(transport)

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        if heads:
            self._transport.write(self._answer * len(heads))
            if self._then_close:
                self._transport.close()


@asynccontextmanager
async def raw_upstream(
    answer: bytes = OK, *, port: int = 0, then_close: bool = False
) -> AsyncIterator[int]:
    """Serve in this loop; give the port."""
    transports: list[asyncio.Transport] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: RawUpstream(answer, then_close=then_close, transports=transports),
        "127.0.0.1", port,
    )  # fmt: skip
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for transport in transports:
            transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


def head_of(fields: dict[str, str], target: str = "/") -> bytes:
    """Return a GET request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {target} HTTP/1.1\r\nHost: gateway\r\n{lines}\r\n".encode()


async def pipeline(port: int, requests: Sequence[bytes]) -> Counter[int]:
    """Send requests on one connection; return how often each status came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    statuses = Counter[int]()
    try:
        for start in range(0, len(requests), PIPELINED):
            batch = requests[start : start + PIPELINED]
            writer.write(b"".join(batch))
            for _ in batch:
                statuses[await _read_status(reader)] += 1
    finally:
        writer.close()
        await writer.wait_closed()
    return statuses


async def _read_status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])
