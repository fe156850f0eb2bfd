"""Plain HTTP to the TLS port is answered in words; TLS goes on as if no byte had been looked at."""

import asyncio
import errno
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from gateway.config.loaded import ListenerTls
from gateway.errors import GatewayError
from gateway.process import tls_listener
from gateway.process import worker as life
from gateway.process.tls_listener import TlsListener
from gateway.process.worker import Worker
from gateway.proxy.parting import LINGER_BYTES_MAX
from tests.process.configurations import loaded_in
from tests.support.http_judge import Message, answers_in
from tests.support.redis_tls import make_certificate
from tests.support.wire import Wire

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
HANDSHAKE_SECONDS = 1.0
Connect = Callable[..., Awaitable[Wire]]
GET = b"GET /three HTTP/1.1\r\nHost: a\r\n\r\n"


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    loaded = loaded_in(tmp_path)
    key, certificate = make_certificate(tmp_path)
    limits = replace(loaded.snapshot.limits, head_seconds=HANDSHAKE_SECONDS, connections_max=5)
    made = life.build(
        replace(
            loaded,
            settings=replace(loaded.settings, tls=ListenerTls(certificate, key, None)),
            snapshot=replace(loaded.snapshot, limits=limits),
        ),
        {},
    )
    await life.start(made)
    yield made
    await life.stop(made)


@pytest.fixture
async def connect(worker: Worker) -> AsyncIterator[Connect]:
    """Open connections that are closed in the end."""
    wires: list[Wire] = []

    async def connected(data: bytes = b"") -> Wire:
        wire = await Wire.connect(port_of(worker))
        wires.append(wire)
        if data:
            await wire.send(data)
        return wire

    yield connected
    for wire in wires:
        wire.close()


def listener_of(worker: Worker) -> TlsListener:
    (server,) = worker.servers
    assert isinstance(server, TlsListener)
    return server


def port_of(worker: Worker) -> int:
    port: int = listener_of(worker).sockets[0].getsockname()[1]
    return port


async def over_tls(worker: Worker, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """Return the answer to a request over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(worker), ssl=context)
    writer.write(GET)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def is_quiet(worker: Worker) -> bool:
    listener = listener_of(worker)
    return not (listener._unread or listener._begun)


async def told(wire: Wire, method: bytes = b"GET") -> Message:
    """Return the one answer that a connection got before it ended well."""
    await wire.rest()
    assert wire.ended == "fin"
    (answer,) = answers_in(wire.received, [method], ended=True)
    assert answer.is_whole
    assert (answer.status, answer.values(b"connection")) == (400, [b"close"])
    return answer


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"get / http/1.1\r\n\r\n",
        GET * 50,
    ],
)
async def test_plain_http_is_answered_in_words(
    worker: Worker, connect: Connect, request_: bytes
) -> None:
    wire = await connect(request_)

    answer = await told(wire)

    assert b"Plain HTTP was sent to a port that speaks HTTPS." in answer.body
    assert answer.values(b"content-type") == [b"application/problem+json"]
    assert len(answer.values(b"date")) == len(answer.values(b"x-request-id")) == 1
    wire.close()
    await until(lambda: is_quiet(worker))
    assert worker.stats.worker.parse_errors == 1
    assert worker.stats.worker.unrouted_refused == {"bad_request": 1}


@pytest.mark.parametrize("request_", [b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", GET])
async def test_it_may_come_byte_by_byte(worker: Worker, connect: Connect, request_: bytes) -> None:
    wire = await connect()
    for at in range(len(request_)):
        await wire.send(request_[at : at + 1])
        await asyncio.sleep(0)

    answer = await told(wire, request_.partition(b" ")[0])

    assert bool(answer.body) is (request_ == GET)


async def test_who_never_ends_is_cut_off(
    worker: Worker, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_listener, "LINGER_SECONDS", 0.2)
    slow = await connect(b"HE")
    flood = await connect()
    with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe
        await flood.send(b"x" * (64 * LINGER_BYTES_MAX))

    assert await slow.rest() == b""
    assert slow.ended == "fin"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_is_spoken_as_before(
    worker: Worker, connect: Connect, version: ssl.TLSVersion
) -> None:
    plain = await connect(GET)
    await told(plain)

    answers = await asyncio.gather(*(over_tls(worker, version=version) for _ in range(4)))

    assert all(answer.startswith(b"HTTP/1.1 404 ") for answer in answers)
    await until(lambda: is_quiet(worker))


async def test_a_handshake_in_single_bytes_is_one(worker: Worker, connect: Connect) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    wire = await connect()
    is_done = False
    while not is_done:
        try:
            client.do_handshake()
            is_done = True
        except ssl.SSLWantReadError:
            pass
        for byte in outgoing.read():
            await wire.send(bytes([byte]))
        if not is_done:
            await wire._receive()
            incoming.write(wire._take(len(wire.received)))
    await until(lambda: len(worker.ports.connections) == 1)
    wire.close()


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01"])
async def test_who_does_not_go_on_is_closed(worker: Worker, connect: Connect, sent: bytes) -> None:
    """The handshake's time begins with the connection, whatever comes of it."""
    wire = await connect()
    if sent:
        await wire.send(sent)
    began = asyncio.get_running_loop().time()

    await wire.rest()

    assert HANDSHAKE_SECONDS * 0.9 <= asyncio.get_running_loop().time() - began < 4
    await until(lambda: is_quiet(worker))


@pytest.mark.parametrize("sent", [b"\x00\x01garbage", b"\xff\xff", b"\x16\x03\x01\x00\x05GET /"])
async def test_what_is_neither_is_closed(worker: Worker, connect: Connect, sent: bytes) -> None:
    wire = await connect(sent)

    assert b"HTTP/" not in await wire.rest()

    await until(lambda: is_quiet(worker))


async def test_silent_connections_count_against_the_bound(worker: Worker, connect: Connect) -> None:
    silent = [await connect() for _ in range(5)]
    await until(lambda: len(listener_of(worker)._unread) == 5)
    one_more = await connect()

    assert await one_more.rest() == b""
    assert worker.stats.worker.connections_refused == 1
    silent[0].reset()
    await until(lambda: len(listener_of(worker)._unread) == 4)
    assert (await over_tls(worker)).startswith(b"HTTP/1.1 404 ")
    for wire in silent[1:]:
        wire.close()


async def test_plain_visitors_count_against_the_bound(worker: Worker, connect: Connect) -> None:
    """Each holds a descriptor until it is gone, the answered ones too."""
    visitors = [await connect(GET if number % 2 else b"HE") for number in range(5)]
    await until(lambda: worker.stats.worker.connections_accepted == 5)

    assert await (await connect(GET)).rest() == b""

    assert worker.stats.worker.connections_refused == 1
    for wire in visitors:
        wire.close()
    await until(lambda: is_quiet(worker))
    assert (await over_tls(worker)).startswith(b"HTTP/1.1 404 ")


def with_limits(worker: Worker, **changes: float) -> None:
    """Let a reload have changed the limits of clients."""
    active = worker.ports.active
    limits = replace(active.snapshot.limits, **changes)  # type: ignore[arg-type]
    worker.ports.swap(replace(active.snapshot, limits=limits))


async def test_silent_connections_count_for_their_address(worker: Worker, connect: Connect) -> None:
    """One address alone must not hold every place for as long as a handshake may take."""
    with_limits(worker, connections_per_address_max=2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, standing = await asyncio.open_connection("127.0.0.1", port_of(worker), ssl=context)
    await until(lambda: is_quiet(worker))
    silent = await connect()
    await until(lambda: listener_of(worker)._unread)

    assert await (await connect()).rest() == b""

    assert worker.stats.worker.connections_refused == 1
    silent.close()
    await until(lambda: is_quiet(worker))
    assert (await over_tls(worker)).startswith(b"HTTP/1.1 404 ")
    standing.close()


async def test_a_reload_changes_the_time_of_handshakes(worker: Worker, connect: Connect) -> None:
    with_limits(worker, head_seconds=0.1)
    began = asyncio.get_running_loop().time()

    await (await connect(b"\x16")).rest()

    assert asyncio.get_running_loop().time() - began < HANDSHAKE_SECONDS


async def test_without_room_it_tries_again(
    worker: Worker, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_listener, "FULL_SECONDS", 0.05)
    listener = listener_of(worker)
    (listening,) = listener._listening

    class Full:
        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def accept(self) -> None:
            monkeypatch.undo()
            raise OSError(errno.EMFILE, "Too many open files")

        def fileno(self) -> int:
            return self._sock.fileno()

    full = Full(listening)
    listener._listening[:] = [full]  # type: ignore[list-item]
    asyncio.get_running_loop().remove_reader(listening)
    with capture_logs() as lines:
        listener._accept(full)  # type: ignore[arg-type]
    assert [line["event"] for line in lines] == ["tls.accept_failed"]
    listener._listening[:] = [listening]
    await asyncio.sleep(0.1)
    listener._accept_again(listening)

    assert (await over_tls(worker)).startswith(b"HTTP/1.1 404 ")


async def test_closed_it_takes_nobody_and_lets_the_silent_go(
    worker: Worker, connect: Connect
) -> None:
    silent = await connect()
    await until(lambda: listener_of(worker)._unread)
    port = port_of(worker)
    listener_of(worker).close()

    assert await silent.rest() == b""
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_an_address_in_use_is_told(worker: Worker, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    loaded = loaded_in(folder)
    settings = replace(
        loaded.settings,
        tls=worker.settings.tls,
        listen=(replace(loaded.settings.listen[0], port=port_of(worker)),),
    )
    second = life.build(replace(loaded, settings=settings), {})

    with pytest.raises(GatewayError) as caught:
        await life.start(second)
    await life.stop(second)

    assert caught.value.code == "worker.cannot_listen"
