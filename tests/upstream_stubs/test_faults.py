"""Failures can be asked for on every path but the health check."""

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from upstream_stubs.app import create_app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> TestClient:
    return await aiohttp_client(create_app())


async def test_a_forced_failure_does_no_work(client: TestClient) -> None:
    answer = await client.post("/v1/runs", json={}, headers={"X-Stub-Status": "500"})
    listed = await (await client.get("/v1/runs")).json()

    assert answer.status == 500
    assert listed == {"data": []}


async def test_a_delay_comes_before_the_answer(client: TestClient) -> None:
    answer = await client.get("/echo", headers={"X-Stub-Delay-Ms": "5"})

    assert answer.status == 200


async def test_health_ignores_faults(client: TestClient) -> None:
    answer = await client.get("/healthz", headers={"X-Stub-Status": "500"})

    assert answer.status == 200
    assert await answer.json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("X-Stub-Status", "100"),
        ("X-Stub-Status", "600"),
        ("X-Stub-Status", "abc"),
        ("X-Stub-Delay-Ms", "60001"),
        ("X-Stub-Delay-Ms", "-1"),
        ("X-Stub-Delay-Ms", "1" * 5000),
    ],
)
async def test_a_fault_out_of_bounds_is_400(client: TestClient, field: str, value: str) -> None:
    assert (await client.get("/echo", headers={field: value})).status == 400
