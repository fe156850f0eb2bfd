"""What a stopping worker waits for, and what it does not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from gateway.process import worker as life
from gateway.process.draining import clients_of, end_tunnels, is_awaited, is_busy
from gateway.process.worker import Worker
from gateway.proxy.parting import IDLE_LINGER_SECONDS
from tests.process.configurations import loaded_in
from tests.support.wire import Wire

GET = b"GET /three HTTP/1.1\r\nHost: a\r\n\r\n"


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    made = life.build(loaded_in(tmp_path), {})
    await life.start(made)
    yield made
    await life.stop(made)


@pytest.fixture
async def client(worker: Worker) -> AsyncIterator[Wire]:
    """A client that was answered and keeps its connection."""
    wire = await Wire.connect(worker.servers[0].sockets[0].getsockname()[1])
    await wire.send(GET)
    await wire.until(b"}")
    yield wire
    wire.close()


async def test_nobody_is_waited_for_where_nobody_is(worker: Worker) -> None:
    assert not is_busy(worker.ports)
    assert not is_awaited(worker.ports)
    await end_tunnels(worker.ports)


async def test_an_idle_client_is_waited_for_until_it_has_gone(worker: Worker, client: Wire) -> None:
    ports = worker.ports
    (connection,) = clients_of(ports)
    assert not is_busy(ports)
    assert is_awaited(ports)  # it may be about to ask again

    connection.touched_at -= IDLE_LINGER_SECONDS
    assert is_awaited(ports)
    assert await client.rest() == b""
    assert client.ended == "fin"
    client.close()
    async with asyncio.timeout(5):
        while clients_of(ports):
            await asyncio.sleep(0.005)
    assert not is_awaited(ports)


async def test_a_client_that_does_not_go_is_not_waited_for_long(
    worker: Worker, client: Wire
) -> None:
    (connection,) = clients_of(worker.ports)
    connection.touched_at -= IDLE_LINGER_SECONDS
    assert is_awaited(worker.ports)
    assert await client.rest() == b""

    connection.closes_at -= IDLE_LINGER_SECONDS

    assert not is_awaited(worker.ports)
    assert client.ended == "fin"
