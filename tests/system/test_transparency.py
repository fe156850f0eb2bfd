"""X1: the client can't tell that the gateway is there, except by the fields that it adds.

The upstream is httpbin, served unmodified; the clients are curl, httpx, aiohttp and websockets.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import aiohttp
import h11
import httpx
import pytest
import websockets

from tests.support.gateway_process import ROOT, GatewayProcess, free_port, wait_until

ADDED = {
    "x-request-id", "ratelimit", "ratelimit-policy", "x-forwarded-for", "x-forwarded-proto",
    "x-forwarded-host", "forwarded", "via",
}  # fmt: skip
VARIES = {"date", "connection", "transfer-encoding"}
ROUTES = """\
- name: open
  match: {methods: [GET, POST, PUT, PATCH, DELETE, OPTIONS], path: "/**"}
  upstream: app
  auth: none
"""
STUB_ROUTES = """\
- {name: ws, match: {methods: [GET], path: /ws/echo}, upstream: app}
- {name: all, match: {methods: [GET, POST], path: "/**"}, upstream: app}
"""
HTTPBIN = """\
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from httpbin import app

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

class Quiet(WSGIRequestHandler):
    def log_message(self, *_): pass

make_server("127.0.0.1", int(sys.argv[1]), app, Server, Quiet).serve_forever()
"""


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code < 500
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def httpbin() -> Iterator[str]:
    """The address of a real httpbin."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", HTTPBIN, str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(f"{url}/get"), 20)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def gateway(httpbin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway before it, with an open route."""
    port = int(httpbin.rpartition(":")[2])
    gateway = GatewayProcess(tmp_path_factory.mktemp("open"), port, routes=ROUTES).start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway before the sample upstream, with keys."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "upstream_stubs", "--port", str(port)],
        cwd=ROOT, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("stubs")
    gateway = GatewayProcess(folder, port, routes=STUB_ROUTES).start()
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), 20)
        yield gateway
    finally:
        gateway.stop()
        process.terminate()
        process.wait()


def curl(url: str, *options: str) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return status line, fields and body as curl saw them."""
    done = subprocess.run(
        ["curl", "-sS", "-i", "--raw", "--http1.1", "-A", "t", *options, url],
        capture_output=True, check=True, timeout=20,
    )  # fmt: skip
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.split(b" ")[1].startswith(b"1"):
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = [
        (name.lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines[1:])
    ]
    return lines[0].partition(" ")[2], fields, body


def unchunked(fields: list[tuple[str, str]], body: bytes) -> bytes:
    """Return the body without its chunked framing."""
    if ("transfer-encoding", "chunked") not in fields:
        return body
    whole = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return whole
        whole, body = whole + rest[:length], rest[length + 2 :]


def cleaned(body: bytes, url: str) -> bytes:
    """Return a JSON body without what the gateway adds to the request it mirrors."""
    try:
        mirrored = json.loads(body)
    except ValueError:
        return body
    if not isinstance(mirrored, dict):
        return body
    headers = mirrored.get("headers", {})
    mirrored["headers"] = {
        name: value for name, value in headers.items()
        if name.lower() not in ADDED | {"host", "connection"} and value
    }  # fmt: skip
    for name in ("url", "origin"):
        mirrored.pop(name, None)
    return json.dumps(mirrored, sort_keys=True).replace(url, "").encode()


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/get?a=b&a=c", []),
        ("/headers", ["-H", "X-Odd: one", "-H", "x-odd: two", "-H", "Cookie: a=b"]),
        ("/post", ["-d", "x=1&y=2"]),
        ("/put", ["-X", "PUT", "-d", '{"a": 1}', "-H", "Content-Type: application/json"]),
        ("/patch", ["-X", "PATCH", "-d", "x"]),
        ("/delete", ["-X", "DELETE"]),
        ("/bytes/10000?seed=7", []),
        ("/range/5000", []),
        ("/encoding/utf8", []),
        ("/html", []),
        ("/image/png", []),
        ("/status/204", []),
        ("/status/304", []),
        ("/status/418", []),
        ("/status/500", []),
        ("/redirect-to?url=%2Fget", []),
        ("/cookies/set?a=1&b=2", []),
        ("/response-headers?X-One=1&X-One=2", []),
        ("/etag/abc", ["-H", 'If-None-Match: "abc"']),
        ("/anything/deep/path", ["-X", "POST", "-d", "z"]),
        ("/get", ["-I"]),
        ("/drip?duration=0&numbytes=50&delay=0", []),
    ],
)
def test_curl_sees_the_same_with_and_without(
    httpbin: str, gateway: GatewayProcess, path: str, options: list[str]
) -> None:
    direct = curl(httpbin + path, *options)
    through = curl(gateway.url + path, *options)

    assert through[0] == direct[0]
    mine = cleaned(unchunked(through[1], through[2]), gateway.url)
    theirs = cleaned(unchunked(direct[1], direct[2]), httpbin)
    # httpbin mirrors the fields that the gateway adds, and answers 204 with a Content-Length that
    # RFC 9110 8.6 forbids.
    mirrors = len(direct[2]) != len(through[2]) or "-I" in options or "204" in path
    varies = VARIES | ({"content-length"} if mirrors else set())
    assert [f for f in through[1] if f[0] not in ADDED | varies] == [
        f for f in direct[1] if f[0] not in varies
    ]
    assert mine == theirs


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_answers_are_decoded_by_a_client_as_without_the_gateway(
    httpbin: str, gateway: GatewayProcess, coding: str
) -> None:
    direct, through = (httpx.get(f"{url}/{coding}") for url in (httpbin, gateway.url))

    assert through.headers["Content-Encoding"] == direct.headers["Content-Encoding"]
    assert cleaned(through.content, gateway.url) == cleaned(direct.content, httpbin)


@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_001])
def test_bodies_pass_byte_by_byte(stubs: GatewayProcess, size: int) -> None:
    key = stubs.make_key("ENTERPRISE")
    body = os.urandom(size)

    by_length = httpx.post(
        f"{stubs.url}/echo/raw", content=body, headers={"X-API-Key": key}, timeout=20
    )
    by_chunks = httpx.post(
        f"{stubs.url}/echo/raw", content=iter([body[: size // 2], body[size // 2 :]]),
        headers={"X-API-Key": key}, timeout=20,
    )  # fmt: skip

    assert by_length.content == body
    assert by_chunks.content == body


async def test_large_download_streams(stubs: GatewayProcess) -> None:
    key = await asyncio.to_thread(stubs.make_key, "ENTERPRISE")
    url = f"{stubs.url}/bytes/50000000"
    seen = hashlib.sha256()
    size = 0
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Authorization": f"Bearer {key}"}) as answer,
    ):
        async for piece in answer.content.iter_any():
            size += len(piece)
            seen.update(piece)
    assert size == 50_000_000


async def test_server_sent_events_arrive_one_by_one(stubs: GatewayProcess) -> None:
    """DESIGN 10: flushed at once."""
    key = await asyncio.to_thread(stubs.make_key, "ENTERPRISE")
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{stubs.url}/sse/3", headers={"X-API-Key": key}) as answer,
    ):
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        text = await answer.text()
    assert text.count("data: ") == 3


async def test_websocket_passes_both_ways(stubs: GatewayProcess) -> None:
    """X1: a real client, text and binary, and a record of the handshake."""
    key = await asyncio.to_thread(stubs.make_key, "ENTERPRISE")
    async with websockets.connect(
        stubs.url.replace("http", "ws") + "/ws/echo", additional_headers={"X-API-Key": key}
    ) as socket:
        for message in ("hello", b"\x00\xff" * 40_000, "bye"):
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), 5) == message


async def test_pipelined_requests_are_answered_in_order_as_h11_reads_them(
    stubs: GatewayProcess,
) -> None:
    """RFC 9112 9.3; h11 is an independent judge of every byte."""
    key = await asyncio.to_thread(stubs.make_key, "ENTERPRISE")
    reader, writer = await asyncio.open_connection("127.0.0.1", stubs.port)
    request = "GET /echo/{} HTTP/1.1\r\nHost: h\r\nX-API-Key: {}\r\n\r\n"
    writer.write("".join(request.format(n, key) for n in range(5)).encode())
    judge = h11.Connection(h11.CLIENT)
    paths = []
    for n in range(5):
        judge.send(h11.Request(method="GET", target=f"/echo/{n}", headers=[("Host", "h")]))
        judge.send(h11.EndOfMessage())
        body = b""
        while True:
            event = judge.next_event()
            if event is h11.NEED_DATA:
                judge.receive_data(await asyncio.wait_for(reader.read(65_536), 5))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
        paths.append(json.loads(body)["path"])
        judge.start_next_cycle()
    writer.close()
    await writer.wait_closed()
    assert paths == [f"/echo/{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         b"400"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b"405"),
    ],
)  # fmt: skip
async def test_bad_http_is_refused_and_closed(
    gateway: GatewayProcess, raw: bytes, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(raw)

    answer = await asyncio.wait_for(reader.read(), 5)

    writer.close()
    assert answer.split(b" ")[1] == status
    assert b"application/problem+json" in answer


def test_method_that_no_route_takes_is_told_which_ones_do(gateway: GatewayProcess) -> None:
    answer = httpx.request("PROPFIND", gateway.url + "/x")

    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
