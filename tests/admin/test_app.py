"""The admin plane serves three pages and refuses the rest (B11, X9)."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry

from gateway.admin.app import create_app, start_admin
from gateway.errors import GatewayError
from gateway.telemetry.exposition import create_registry
from gateway.telemetry.metrics import Stats

Client = Callable[[Any], Awaitable[TestClient[Any, Any]]]


def registry() -> CollectorRegistry:
    return create_registry(Stats(), list, version="1.2.3")


def ready() -> list[str]:
    return []


async def measured() -> None:
    """Nothing here has an age."""


@pytest.mark.parametrize("path", ["/", "/v1/runs", "/admin", "/healthz/", "/metrics/x"])
async def test_there_is_nothing_else(aiohttp_client: Client, path: str) -> None:
    client = await aiohttp_client(create_app(ready, registry(), measured))

    assert (await client.get(path)).status == 404


async def test_nothing_can_be_changed(aiohttp_client: Client) -> None:
    client = await aiohttp_client(create_app(ready, registry(), measured))

    assert (await client.post("/readyz")).status == 405


async def test_no_software_is_named(aiohttp_client: Client) -> None:
    client = await aiohttp_client(create_app(ready, registry(), measured))

    for path in ("/healthz", "/metrics", "/nothing"):
        answer = await client.get(path)
        told = str(dict(answer.headers)) + await answer.text()
        assert "aiohttp" not in told.lower()


async def test_a_started_plane_answers_on_its_own_port() -> None:
    runner = await start_admin([("127.0.0.1", 0)], ready, registry(), measured)
    host, port = runner.addresses[0][:2]

    async with ClientSession() as session, session.get(f"http://{host}:{port}/readyz") as answer:
        status = answer.status
    await runner.cleanup()

    assert status == 200


async def test_an_address_in_use_is_the_operators_error_not_a_traceback() -> None:
    runner = await start_admin([("127.0.0.1", 0)], ready, registry(), measured)
    port = runner.addresses[0][1]

    with pytest.raises(GatewayError) as caught:
        await start_admin([("127.0.0.1", port)], ready, registry(), measured)
    await runner.cleanup()

    assert caught.value.code == "admin.cannot_listen"
    assert "--admin-listen" in caught.value.hint


async def test_an_exposed_plane_is_warned_about() -> None:
    with structlog.testing.capture_logs() as events:
        runner = await start_admin([("0.0.0.0", 0)], ready, registry(), measured)
        await runner.cleanup()

    assert [event["event"] for event in events] == ["admin.exposed"]
