"""The mirrors say back what arrived, byte for byte."""

import hashlib
import io

import pytest
from aiohttp import WSMsgType
from aiohttp.test_utils import TestClient
from multidict import CIMultiDict
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from upstream_stubs.app import create_app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> TestClient:
    return await aiohttp_client(create_app())


async def test_target_is_told_as_it_was_spelt(client: TestClient) -> None:
    answer = await client.get(URL("/echo/a%2Fb//c;v=1?x=%20&x=2", encoded=True))
    seen = await answer.json()

    assert (seen["path"], seen["query"]) == ("/echo/a%2Fb//c;v=1", "x=%20&x=2")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
async def test_any_method_is_told(client: TestClient, method: str) -> None:
    assert (await (await client.request(method, "/echo")).json())["method"] == method


async def test_head_has_no_body(client: TestClient) -> None:
    answer = await client.head("/echo/x")

    assert answer.status == 200
    assert await answer.read() == b""


async def test_fields_keep_case_and_duplicates(client: TestClient) -> None:
    fields = CIMultiDict([("X-Twice", "1"), ("X-Twice", "2")])
    answer = await client.get("/echo", headers=fields)
    pairs = (await answer.json())["headers"]

    assert [pair for pair in pairs if pair[0].lower() == "x-twice"] == [
        ["X-Twice", "1"],
        ["X-Twice", "2"],
    ]


async def test_a_body_larger_than_the_json_bound_is_digested(client: TestClient) -> None:
    body = bytes(range(256)) * 8192
    seen = await (await client.post("/echo/big", data=io.BytesIO(body))).json()

    assert seen["body_bytes"] == len(body)
    assert seen["body_sha256"] == hashlib.sha256(body).hexdigest()


async def test_raw_returns_the_body(client: TestClient) -> None:
    body = bytes(range(256)) * 512
    answer = await client.post(
        "/echo/raw", data=body, headers={"Content-Type": "application/x-thing"}
    )

    assert await answer.read() == body
    assert answer.headers["Content-Type"] == "application/x-thing"
    assert answer.headers["Content-Length"] == str(len(body))


async def test_websocket_messages_come_back(client: TestClient) -> None:
    socket = await client.ws_connect("/ws/echo")
    await socket.send_str("hello")
    await socket.send_bytes(b"\x00\xff")
    text, binary = await socket.receive(), await socket.receive()
    await socket.close()

    assert (text.type, text.data) == (WSMsgType.TEXT, "hello")
    assert (binary.type, binary.data) == (WSMsgType.BINARY, b"\x00\xff")
