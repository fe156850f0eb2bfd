"""Crowds of clients that do nothing, or almost nothing: each costs memory, and it is bounded.

Ten thousand idle connections, ten thousand half heads, a thousand half bodies, hundreds that do not
read. Beside each a healthy client is served, and the same crowd takes no more the next time.
"""

import asyncio
import resource
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from conformance.outcome import Check, MissingToolError
from conformance.slow_suite import rss_bytes
from conformance.subject import Subject, running

SUITE: Final = "crowds"
TOP: Final = "limits: {connections: 15000, head_time: 5m, body_idle: 5m, keep_alive: 5m}"
ROUTES: Final = """\
upstreams:
  app:
    endpoints: ["http://127.0.0.1:{upstream}"]
    connections_max: 2000
    timeouts: {{first_byte: 300s, total: none}}
routes:
  - {{name: open, match: {{methods: [GET, POST], path: "/**"}}, upstream: app, auth: none}}
"""
OPEN_FILES: Final = 14_000
OPEN_FILES_MIN: Final = 4096
RESERVED: Final = 2500
"""For the upstream that is played here, and everything else."""
AT_ONCE: Final = 200
HEALTHY_SECONDS: Final = 5.0
TIMES: Final = 3
TIMES_MAX: Final = 12
AGAIN_BYTES: Final = 512 << 10
"""What a crowd may take beyond the one before, once at least.

Allocators keep what the fullest moment took, and how full it gets is a matter of chance: the first
crowds may each take more. What leaks takes more every time.
"""
_MEGABYTE: Final = b"x" * (1 << 20)
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many of one kind.

    Attributes:
        sent: By each; then it is silent.
        each_bytes_max: What one may cost the gateway.
        why: What it consists of.
        reads: Whether it takes the answer.
    """

    name: str
    connections: int
    sent: bytes
    each_bytes_max: int
    why: str
    reads: bool = False


CROWDS: Final = (
    Crowd(
        "idle", 10_000, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 8 * 1024,
        "a protocol, a transport, a parser", reads=True,
    ),
    Crowd(
        "half heads", 10_000, b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 1000, 12 * 1024,
        "the same and what has come of the head, at most limits.head",
    ),
    Crowd(
        "half bodies", 1000, b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
        + b"z" * 1000, 40 * 1024,
        "a client's and an upstream's connection, an exchange, its coroutine",
    ),
    Crowd(
        "who does not read", 400, b"GET /megabyte HTTP/1.1\r\nHost: a\r\n\r\n", 1024 * 1024,
        "two write buffers of 256 KB, each passed by at most one reading",
    ),
)  # fmt: skip


def checks(only: str) -> Iterator[Check]:
    """Let each crowd come and go, time and again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES_MIN:
        raise MissingToolError(f"{OPEN_FILES_MIN:,} open files (ulimit -Hn says {hard:,})")
    files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))
    for crowd in CROWDS:
        if only in crowd.name:
            # Where fewer files may be open the crowds are smaller; what is told says how large.
            fitting = min(crowd.connections, files - RESERVED)
            yield asyncio.run(_seen(replace(crowd, connections=fitting)))


async def _seen(crowd: Crowd) -> Check:
    upstream = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=4096)
    port = upstream.sockets[0].getsockname()[1]
    faults = []
    try:
        with running("crowd", upstream_port=port, routes=ROUTES, top=TOP) as subject:
            await _healthy(subject)
            before = rss_bytes(subject.process.pid)
            grown = [await _grown(crowd, subject, before) for _ in range(TIMES)]
            while _grows(grown) and len(grown) < TIMES_MAX:
                grown.append(await _grown(crowd, subject, before))
    finally:
        upstream.close()
    each = max(grown) // crowd.connections
    if each > crowd.each_bytes_max:
        faults.append(f"each takes {each:,} bytes, not {crowd.each_bytes_max:,}")
    if _grows(grown):
        faults.append(f"the same crowd takes more each time: {grown}")
    says = (
        f"{crowd.connections:,} connections take {each:,} bytes each ({crowd.why}); "
        f"the same crowd {len(grown)} times: {', '.join(str(size >> 20) for size in grown)} MB"
    )
    return Check(SUITE, crowd.name, "\n".join(faults), says)


def _grows(grown: list[int]) -> bool:
    return grown[-1] > grown[-2] + AGAIN_BYTES


async def _grown(crowd: Crowd, subject: Subject, before: int) -> int:
    """Let a crowd come; return by how much the gateway has grown, and send it away."""
    gate = asyncio.Semaphore(AT_ONCE)
    here: list[asyncio.StreamWriter] = []

    async def come() -> None:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", subject.port, limit=1024)
            here.append(writer)
            if not crowd.reads:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(crowd.sent)
            if crowd.reads:
                await reader.readuntil(b"ok")

    await asyncio.gather(*(come() for _ in range(crowd.connections)))
    for _ in range(5):
        await _healthy(subject)
        await asyncio.sleep(0.1)
    grown = rss_bytes(subject.process.pid) - before
    for writer in here:
        writer.transport.abort()
    for _ in range(10):
        await asyncio.sleep(0.1)
        await _healthy(subject)
    return grown


async def _healthy(subject: Subject) -> None:
    """Ask for something.

    Raises:
        TimeoutError: nobody is served beside the crowd.
    """
    async with asyncio.timeout(HEALTHY_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", subject.port)
        writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await reader.read(-1)
        writer.close()
    assert answer.endswith(b"\r\n\r\nok"), answer[:200]


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a little, or with a megabyte; wait for whole bodies."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST"):
                await reader.readexactly(100_000)
            if head.startswith(b"GET /megabyte"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_MEGABYTE))
                writer.write(_MEGABYTE)
            else:
                writer.write(_OK)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()
