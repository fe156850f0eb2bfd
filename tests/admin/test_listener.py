"""The admin port outlives whoever holds its connections, and tells nobody what it runs on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.admin.app import create_app
from gateway.admin.listener import CONNECTIONS_MAX, AdminSite
from gateway.telemetry.exposition import create_registry
from gateway.telemetry.metrics import Stats

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

HALF_HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-"
PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def runner() -> AsyncIterator[web.AppRunner]:
    async def measured() -> None:
        """Nothing is behind."""

    app = create_app(list, create_registry(Stats(), list, version="1.2.3"), measured)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    yield runner
    await runner.cleanup()


async def connected(runner: web.AppRunner, sent: bytes) -> Connection:
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(sent)
    return reader, writer


@pytest.mark.parametrize("before", [b"", PROBE])
async def test_half_a_head_is_not_waited_for_without_end(
    runner: web.AppRunner, before: bytes
) -> None:
    await AdminSite(runner, "127.0.0.1", 0, idle_seconds=0.1).start()

    reader, writer = await connected(runner, before + HALF_HEAD)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()

    assert answer.count(b"HTTP/1.1 200 OK") == bool(before)


async def test_a_probe_is_answered_whoever_holds_the_other_connections(
    runner: web.AppRunner,
) -> None:
    await AdminSite(runner, "127.0.0.1", 0).start()

    held = [await connected(runner, HALF_HEAD) for _ in range(CONNECTIONS_MAX)]
    reader, writer = await connected(runner, PROBE)
    async with asyncio.timeout(5):
        answer = await reader.readline()
        oldest = await held[0][0].read()
    assert runner.server is not None
    count = len(runner.server.connections)
    for _, other in [*held, (reader, writer)]:
        other.close()

    assert answer == b"HTTP/1.1 200 OK\r\n"
    assert oldest == b""
    assert not held[1][0].at_eof()
    assert count == CONNECTIONS_MAX


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE secret\r\n\r\n",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Bearer secret\x01\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_without_a_word_more(
    runner: web.AppRunner, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await AdminSite(runner, "127.0.0.1", 0).start()

    reader, writer = await connected(runner, sent)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert b"server:" not in head.lower()
    assert body == b""
    assert caplog.text == ""
