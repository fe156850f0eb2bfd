"""TLS on both sides of a running gateway."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import websockets

from tests.support.gateway_process import GatewayProcess, free_port, wait_until
from tests.support.redis_tls import make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

OPEN = '- {name: all, match: {methods: [GET, POST], path: "/**"}, upstream: app, auth: none}'
TOP = "tls_certificate: certificate.pem\ntls_key: key.pem"
BODY = bytes(range(256)) * 20_000


@pytest.fixture
def gateway(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[GatewayProcess]:
    """A gateway that speaks TLS; a parameter gives further top-level YAML."""
    make_certificate(tmp_path)
    top = f"{TOP}\n{getattr(request, 'param', '')}"
    gateway = GatewayProcess(tmp_path, free_port(), routes=OPEN, top=top).start()
    yield gateway
    assert gateway.stop() == 0


def trusting(gateway: GatewayProcess) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=gateway.folder / "certificate.pem")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the request's fields and body."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(dict(_fields(head)).get(b"content-length", b"0"))
        body = await reader.readexactly(size)
        told = head + body
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(told))
        writer.write(b"Connection: close\r\n\r\n" + told)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # the other side went
    finally:
        writer.close()


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.lower(), value.strip()


async def test_bodies_pass_and_the_upstream_learns_of_tls(gateway: GatewayProcess) -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", gateway.upstream_port)
    url = f"https://localhost:{gateway.port}"
    async with server, httpx.AsyncClient(verify=trusting(gateway)) as client:
        answer = await client.post(f"{url}/a", content=BODY)
        head, _, body = answer.content.partition(b"\r\n\r\n")
        again = await client.get(f"{url}/b")
    assert body == BODY
    assert dict(_fields(head))[b"x-forwarded-proto"] == b"https"
    assert again.status_code == 200
    assert len(gateway.wait_for_records(2)) == 2


async def test_websockets_pass(gateway: GatewayProcess) -> None:
    async def talk(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with (
        websockets.serve(talk, "127.0.0.1", gateway.upstream_port),
        websockets.connect(f"wss://localhost:{gateway.port}/w", ssl=trusting(gateway)) as client,
    ):
        await client.send(b"x" * 300_000)
        assert await client.recv() == b"x" * 300_000


def test_older_versions_are_refused(gateway: GatewayProcess) -> None:
    context = trusting(gateway)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", gateway.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert secured.version() == "TLSv1.2"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", gateway.port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        old.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("gateway", ["limits: {head_time: 1s}"], indirect=True)
@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x00\xa5\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_whoever_does_not_finish_the_handshake_is_cut(gateway: GatewayProcess, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain:
        plain.sendall(said)
        try:
            while plain.recv(1000):
                pass
        except ConnectionResetError:
            pass  # as good an end


def test_a_renewed_certificate_is_shown_and_open_connections_go_on(
    gateway: GatewayProcess,
) -> None:
    old = trusting(gateway)
    for_long = httpx.Limits(keepalive_expiry=300)
    with httpx.Client(verify=old, limits=for_long) as kept:
        url = f"https://localhost:{gateway.port}/"
        assert kept.get(url).status_code == 502
        make_certificate(gateway.folder)
        new = trusting(gateway)

        def is_new() -> bool:
            try:
                return httpx.get(url, verify=new).status_code == 502
            except httpx.ConnectError:
                return False

        wait_until(is_new, 30)
        assert kept.get(url).status_code == 502
        with pytest.raises(httpx.ConnectError), httpx.Client(verify=old) as late:
            late.get(url)


def test_clients_must_show_a_certificate_if_that_is_asked(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    key, certificate = make_certificate(tmp_path, "client-", "DNS:client")
    top = f"{TOP}\ntls_client_ca: client-certificate.pem"
    gateway = GatewayProcess(tmp_path, free_port(), routes=OPEN, top=top).start()
    url = f"https://localhost:{gateway.port}/"
    with pytest.raises(httpx.TransportError), httpx.Client(verify=trusting(gateway)) as nobody:
        nobody.get(url)
    context = trusting(gateway)
    context.load_cert_chain(certificate, key)
    assert httpx.get(url, verify=context).status_code == 502
    assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ("tls_ca_file: {folder}/up-certificate.pem", 502),  # it wants a client certificate
        ("tls_ca_file: {folder}/up-certificate.pem{pair}", 200),
        ("tls_ca_file: {folder}/up-certificate.pem, tls_server_name: other.example{pair}", 502),
        ("tls_ca_file: {folder}/client-certificate.pem{pair}", 502),
        ("tls_server_name: localhost{pair}", 502),  # nobody vouches for it
    ],
)
async def test_the_upstream_is_verified_and_is_shown_who_asks(
    tmp_path: Path, settings: str, status: int
) -> None:
    key, certificate = make_certificate(tmp_path, "up-")
    client_key, client = make_certificate(tmp_path, "client-", "DNS:client")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    port = free_port()
    gateway = GatewayProcess(tmp_path, port, routes=OPEN)
    pair = f", tls_client_certificate: {client}, tls_client_key: {client_key}"
    told = settings.format(folder=tmp_path, pair=pair)
    text = gateway.config.read_text()
    old = f'endpoints: ["http://127.0.0.1:{port}"]'
    gateway.config.write_text(text.replace(old, f'endpoints: ["https://localhost:{port}"], {told}'))
    gateway.start()
    async with (
        await asyncio.start_server(echo, "127.0.0.1", port, ssl=context),
        httpx.AsyncClient() as asking,
    ):
        answer = await asking.get(f"{gateway.url}/a")
    (record,) = gateway.wait_for_records(1)
    assert (answer.status_code, record.status) == (status, status)
    if status == 502:
        assert "certificate" not in answer.text
        assert record.billable is False
    assert gateway.stop() == 0


async def test_an_upstream_with_a_renewed_certificate_is_trusted_again(tmp_path: Path) -> None:
    port = free_port()
    gateway = GatewayProcess(tmp_path, port, routes=OPEN)
    ca = tmp_path / "up-certificate.pem"
    text = gateway.config.read_text()
    old = f'endpoints: ["http://127.0.0.1:{port}"]'
    new = f'endpoints: ["https://localhost:{port}"], tls_ca_file: {ca}'
    gateway.config.write_text(text.replace(old, new))
    async with httpx.AsyncClient() as asking:
        for _ in range(2):
            key, certificate = make_certificate(tmp_path, "up-")
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key)
            if gateway.process is None:
                gateway.start()
            async with (
                await asyncio.start_server(echo, "127.0.0.1", port, ssl=context),
                asyncio.timeout(30),
            ):
                while (await asking.get(f"{gateway.url}/a")).status_code != 200:
                    await asyncio.sleep(0.1)
    assert gateway.stop() == 0


def test_a_certificate_that_can_not_be_used_is_told_in_a_paragraph(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    (tmp_path / "key.pem").write_text("no key")
    gateway = GatewayProcess(tmp_path, free_port(), routes=OPEN, top=TOP).start(wait=False)
    assert gateway.process is not None
    assert gateway.process.wait(20) == 3
    told = (tmp_path / "events.log").read_text()
    assert "tls_key: " in told
    assert "key.pem can't be used for TLS" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("is_told", [True, False])
async def test_an_answer_ends_with_tls_and_not_with_a_mere_fin(
    tmp_path: Path, is_told: bool
) -> None:
    """RFC 9112 9.8: anybody can send a FIN, and would have shortened a billed answer."""
    key, certificate = make_certificate(tmp_path, "up-")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def answer_until_close() -> None:
        plain, _ = listener.accept()
        with context.wrap_socket(plain, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
            if is_told:
                with suppress(ssl.SSLError):  # the gateway closes without saying so itself
                    secured.unwrap()
            else:
                secured.shutdown(socket.SHUT_WR)
                secured.recv(1)  # until the gateway closes

    gateway = GatewayProcess(tmp_path, free_port(), routes=OPEN)
    old = f'endpoints: ["http://127.0.0.1:{gateway.upstream_port}"]'
    new = f'endpoints: ["https://localhost:{port}"], tls_ca_file: {certificate}'
    gateway.config.write_text(gateway.config.read_text().replace(old, new))
    gateway.start()
    async with httpx.AsyncClient() as client:
        upstream = asyncio.ensure_future(asyncio.to_thread(answer_until_close))
        try:
            answer = (await client.get(f"{gateway.url}/a")).text
        except httpx.RemoteProtocolError:
            answer = "cut"
        await upstream
    listener.close()
    (record,) = gateway.wait_for_records(1)
    assert answer == ("half of it" if is_told else "cut")
    assert record.outcome == ("completed" if is_told else "upstream_failed")
    assert gateway.stop() == 0
