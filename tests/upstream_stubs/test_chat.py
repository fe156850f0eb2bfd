"""The chat API: whole and streaming answers tell the same tokens."""

import json

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from upstream_stubs.app import create_app

REQUEST = {
    "model": "stub-1",
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one two three"},
    ],
    "max_tokens": 4,
}
USAGE = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> TestClient:
    return await aiohttp_client(create_app(now_seconds=lambda: 1))


async def _events(client: TestClient, **extra: object) -> list[dict[str, object]]:
    answer = await client.post("/v1/chat/completions", json=REQUEST | {"stream": True} | extra)
    assert answer.headers["Content-Type"] == "text/event-stream"
    *documents, done, end = (await answer.text()).split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(document.removeprefix("data: ")) for document in documents]


async def test_a_whole_answer_has_usage(client: TestClient) -> None:
    answer = await client.post("/v1/chat/completions", json=REQUEST)
    document = await answer.json()

    assert document["object"] == "chat.completion"
    assert document["choices"][0]["message"]["content"] == "one two three one"
    assert document["usage"] == USAGE


async def test_a_stream_says_the_same_words_and_no_usage_unasked(client: TestClient) -> None:
    chunks = await _events(client)
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)

    assert said == "one two three one"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert all("usage" not in chunk for chunk in chunks)


async def test_a_stream_tells_usage_in_its_last_chunk_when_asked(client: TestClient) -> None:
    *chunks, last = await _events(client, stream_options={"include_usage": True})

    assert last["usage"] == USAGE
    assert last["choices"] == []
    assert all(chunk["usage"] is None for chunk in chunks)


@pytest.mark.parametrize(
    "change",
    [
        {"model": ""},
        {"messages": []},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"max_tokens": 0},
        {"max_tokens": 16_385},
        {"max_completion_tokens": "4"},
        {"stream": "yes"},
        {"stream_options": []},
    ],
)
async def test_a_bad_request_is_400_in_the_providers_form(
    client: TestClient, change: dict[str, object]
) -> None:
    answer = await client.post("/v1/chat/completions", json=REQUEST | change)

    assert answer.status == 400
    assert (await answer.json())["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
async def test_a_body_that_is_no_object_is_400(client: TestClient, body: bytes) -> None:
    assert (await client.post("/v1/chat/completions", data=body)).status == 400
