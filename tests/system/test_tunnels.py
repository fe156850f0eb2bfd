"""Metered tunnels of a real gateway: a real client and service, both stores, stops and kills."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from tests.support.gateway_process import GatewayProcess, free_port, wait_until
from tests.support.pricing_files import Document, tier_of
from tests.support.redis_server import RedisServer

ROUTES = """\
- name: ws
  match: {methods: [GET], path: /ws}
  upstream: app
  tunnel: {connections_per_workspace: 8, idle: 1m,
           meter: {meter: dc, by: messages, per_unit: 2, slice: 3}}
"""


def no_rate(document: Document) -> None:
    """Take the limit on requests off the plan with a quota of 50."""
    tier_of(document, "SANDBOX")["limits"]["rate_limit_rpm"] = 0


async def echo(connection: websockets.ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest.fixture
async def service() -> AsyncIterator[int]:
    """A WebSocket service that says the same; its port."""
    port = free_port()
    async with websockets.serve(echo, "127.0.0.1", port):
        yield port


def connect(gateway: GatewayProcess, key: str) -> websockets.connect:
    url = gateway.url.replace("http", "ws") + "/ws"
    return websockets.connect(url, additional_headers={"X-API-Key": key})


async def say(client: ClientConnection, times: int) -> int:
    """Say something so often; return how often it came back before the tunnel ended."""
    for number in range(times):
        try:
            await client.send(f"message {number}")
            assert await asyncio.wait_for(client.recv(), 10) == f"message {number}"
        except websockets.ConnectionClosed:
            return number
    return times


async def started(gateway: GatewayProcess) -> str:
    """Start it; return a key of the plan with a quota of 50."""
    await asyncio.to_thread(gateway.start)
    return await asyncio.to_thread(gateway.make_key, "SANDBOX")


async def slices(gateway: GatewayProcess, number: int) -> list[float]:
    """Return what each slice that is in the ledger charged, once there are so many."""
    for _ in range(500):
        records = await asyncio.to_thread(gateway.records)
        found = [record.charged_micro["dc"] / 1e6 for record in records if is_used(record.reason)]
        if len(found) >= number:
            assert len(found) == number
            return sorted(found)
        await asyncio.sleep(0.02)
    raise AssertionError(records)


def is_used(reason: str) -> bool:
    return reason == "tunnel"


async def test_every_message_is_charged_and_recorded(
    tmp_path: Path, service: int, counters: str
) -> None:
    gateway = GatewayProcess(tmp_path, service, counters=counters, routes=ROUTES, change=no_rate)
    key = await started(gateway)
    try:
        async with connect(gateway, key) as client:
            assert await say(client, 10) == 10
            await client.ping()

        assert await slices(gateway, 4) == [1, 3, 3, 3]  # 20 messages are 10 units
    finally:
        await asyncio.to_thread(gateway.stop)


async def test_tunnels_side_by_side_share_a_quota_to_the_message(
    tmp_path: Path, service: int, counters: str
) -> None:
    """50 units in slices of 3: sixteen slices fit, and no seventeenth."""
    gateway = GatewayProcess(tmp_path, service, counters=counters, routes=ROUTES, change=no_rate)
    key = await started(gateway)
    try:
        clients = await asyncio.gather(*(connect(gateway, key) for _ in range(8)))
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(gateway, key)
        assert refused.value.response.status_code == 429
        came_back = await asyncio.gather(*(say(client, 100) for client in clients))

        assert {client.close_code for client in clients} == {1008}
        assert {client.close_reason for client in clients} == {"quota_exceeded"}
        assert 48 - 8 <= sum(came_back) <= 48  # of a pair the second half may be refused
        assert await slices(gateway, 16) == [3] * 16
    finally:
        await asyncio.to_thread(gateway.stop)


async def test_a_stop_tells_both_sides_and_records_what_was_used(
    tmp_path: Path, service: int, counters: str
) -> None:
    gateway = GatewayProcess(tmp_path, service, counters=counters, routes=ROUTES, change=no_rate)
    key = await started(gateway)
    async with connect(gateway, key) as client:
        assert await say(client, 1) == 1
        code = await asyncio.to_thread(gateway.stop)
        await client.wait_closed()

    assert code == 0
    assert (client.close_code, client.close_reason) == (1001, "drain")
    assert await slices(gateway, 1) == [1]


async def test_a_kill_loses_the_slice_in_work_and_no_other(tmp_path: Path, service: int) -> None:
    gateway = GatewayProcess(tmp_path, service, routes=ROUTES, change=no_rate)
    key = await started(gateway)
    async with connect(gateway, key) as client:
        assert await say(client, 7) == 7  # 14 messages: two slices of 6, and 2 of a third
        await asyncio.to_thread(gateway.kill)
    await asyncio.to_thread(gateway.start)
    try:
        assert await slices(gateway, 2) == [3, 3]
        async with connect(gateway, key) as client:  # 44 units are left: 14 slices
            assert await say(client, 100) in (41, 42)
        assert await slices(gateway, 16) == [3] * 16
    finally:
        await asyncio.to_thread(gateway.stop)


async def test_a_store_that_hangs_ends_the_tunnel_and_keeps_no_slice(
    tmp_path: Path, service: int, redis_server: RedisServer
) -> None:
    """The charge that it takes after all is given back: what stays is what was used."""
    gateway = GatewayProcess(
        tmp_path, service, counters=redis_server.url, routes=ROUTES, change=no_rate
    )
    key = await started(gateway)
    try:
        async with connect(gateway, key) as client:
            assert await say(client, 3) == 3  # a whole slice
            assert await slices(gateway, 1) == [3]
            redis_server.stall()
            assert await say(client, 1) == 0
        redis_server.resume()

        assert (client.close_code, client.close_reason) == (1013, "store_unavailable")
        # The handshake's, and that of the slice.
        await asyncio.to_thread(wait_until, lambda: corrections(gateway) == 2)
        with redis_server.client() as store:
            (counter,) = store.keys("usage:*")
            assert store.get(counter) == b"3000000"
    finally:
        redis_server.resume()
        await asyncio.to_thread(gateway.stop)


def corrections(gateway: GatewayProcess) -> float:
    return gateway.metric("gateway_store_corrections_total")
