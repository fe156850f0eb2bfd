"""Answers of every shape are what was asked for, and bounded."""

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from upstream_stubs.app import create_app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> TestClient:
    return await aiohttp_client(create_app())


@pytest.mark.parametrize("length", [0, 1, 65_536, 200_001])
async def test_a_download_has_its_length_and_pattern(client: TestClient, length: int) -> None:
    answer = await client.get(f"/bytes/{length}")
    body = await answer.read()

    assert answer.headers["Content-Length"] == str(length)
    assert body == bytes(index % 256 for index in range(length))


async def test_chunks_come_without_a_length(client: TestClient) -> None:
    answer = await client.get("/stream/3", params={"interval_ms": "1"})

    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert await answer.text() == '{"part":0}\n{"part":1}\n{"part":2}\n'


async def test_events_are_server_sent_events(client: TestClient) -> None:
    answer = await client.get("/sse/2")

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert await answer.text() == "id: 0\ndata: tick\n\nid: 1\ndata: tick\n\n"


@pytest.mark.parametrize("code", [200, 204, 302, 304, 404, 422, 503, 599])
async def test_any_final_status_can_be_had(client: TestClient, code: int) -> None:
    assert (await client.get(f"/status/{code}", allow_redirects=False)).status == code


async def test_slow_waits_as_long_as_asked(client: TestClient) -> None:
    assert await (await client.get("/slow/0.01")).json() == {"slept_seconds": 0.01}


@pytest.mark.parametrize(
    "path",
    [
        "/bytes/4294967297",
        "/bytes/-1",
        "/stream/10001",
        "/stream/1?interval_ms=10001",
        "/sse/x",
        "/status/199",
        "/status/600",
        "/slow/61",
        "/slow/nan",
        "/slow/x",
    ],
)
async def test_what_is_out_of_bounds_is_400(client: TestClient, path: str) -> None:
    assert (await client.get(path)).status == 400
