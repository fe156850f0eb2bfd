"""A stop as its clients see it: told in the last answer, closed without a reset, tunnels too."""

import asyncio
import signal
import socket
import time
from pathlib import Path

import httpx
import websockets

from tests.support.gateway_process import GatewayProcess, free_port, wait_until
from tests.support.scripted_upstream import ScriptedUpstream

OPEN = '- {name: all, match: {methods: [GET, POST], path: "/**"}, upstream: app, auth: none}'
DRAIN_SECONDS = 6
POST = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"


def gateway_in(folder: Path, port: int, *, drain_seconds: int = DRAIN_SECONDS) -> GatewayProcess:
    return GatewayProcess(folder, port, routes=OPEN, top=f"drain: {drain_seconds}s").start()


def connected(gateway: GatewayProcess, data: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    sock.sendall(data)
    return sock


def rest_of(sock: socket.socket) -> bytes:
    """Return what comes up to a FIN; a reset raises."""
    got = b""
    while data := sock.recv(65536):
        got += data
    return got


def terminate(gateway: GatewayProcess) -> None:
    """Send SIGTERM, and wait until the gateway says that it is draining."""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    wait_until(lambda: httpx.get(f"{gateway.admin_url}/readyz").status_code == 503)


def test_the_answer_under_way_says_that_it_is_the_last(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """RFC 9112 9.6, B11: what was pipelined behind it is neither done nor the cause of a reset."""
    gateway = gateway_in(tmp_path, upstream.port)
    upstream.gate.clear()
    with connected(gateway, POST % b"first" + POST % b"behind") as busy, connected(gateway) as idle:
        idle.sendall(b"GET /nowhere/.. HTTP/1.1\r\nHost: a\r\n\r\n")  # 400 keeps nothing
        wait_until(lambda: upstream.seen)
        terminate(gateway)
        busy.sendall(POST % b"later")
        time.sleep(1)  # beyond the time for readiness: idle connections are closed by now
        upstream.gate.set()

        answer = rest_of(busy)

        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b'{"ok":true}')
        busy.sendall(POST % b"too late")  # taken and dropped
        assert b"400" in rest_of(idle)
    assert gateway.process is not None
    assert gateway.process.wait(timeout=15) == 0
    assert [path for _, path, _ in upstream.seen] == ["/first"]
    assert [record.status for record in gateway.records() if record.route] == [200]


def test_idle_connections_are_closed_and_new_ones_answered_until_they_are_refused(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    gateway = gateway_in(tmp_path, upstream.port)
    with connected(gateway, POST % b"a") as idle, connected(gateway) as fresh:
        while not idle.recv(65536).endswith(b'{"ok":true}'):
            pass
        terminate(gateway)
        fresh.sendall(POST % b"b")
        assert b"\r\nConnection: close\r\n" in rest_of(fresh)

        began = time.monotonic()
        assert rest_of(idle) == b""
        idle.sendall(POST % b"c")
        assert time.monotonic() - began < DRAIN_SECONDS
    assert gateway.process is not None
    assert gateway.process.wait(timeout=DRAIN_SECONDS) == 0
    assert [path for _, path, _ in upstream.seen] == ["/a", "/b"]


async def test_tunnels_have_the_drain(tmp_path: Path) -> None:
    """Frames of this route are not followed: bytes pass until the drain is over."""

    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    port, drain_seconds = free_port(), 3
    async with websockets.serve(echo, "127.0.0.1", port):
        gateway = await asyncio.to_thread(gateway_in, tmp_path, port, drain_seconds=drain_seconds)
        async with websockets.connect(gateway.url.replace("http", "ws") + "/ws") as client:
            began = time.monotonic()
            await asyncio.to_thread(terminate, gateway)
            while time.monotonic() - began < drain_seconds - 1:
                await client.send("still here")
                assert await client.recv() == "still here"
                await asyncio.sleep(0.2)
            await client.wait_closed()
            assert drain_seconds <= time.monotonic() - began < drain_seconds + 5
        assert gateway.process is not None
        assert await asyncio.to_thread(gateway.process.wait, 15) == 0
