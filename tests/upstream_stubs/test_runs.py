"""The runs API: accepts, replays, lists, refuses; and forgets the oldest."""

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from upstream_stubs.app import create_app
from upstream_stubs.runs import Run, RunStore

NOW_SECONDS = 1_780_000_000


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> TestClient:
    return await aiohttp_client(create_app(now_seconds=lambda: NOW_SECONDS))


async def test_a_run_is_accepted_and_tells_what_it_used(client: TestClient) -> None:
    answer = await client.post("/v1/runs", json={"input": "hello", "estimated_dc": 3})

    assert answer.status == 202
    assert answer.headers["X-DC-Used"] == "3"
    assert answer.headers["Location"] == "/v1/runs/run_000000000001"
    assert await answer.json() == {
        "run_id": "run_000000000001",
        "status": "queued",
        "dc_used": 3,
        "created_at": NOW_SECONDS,
        "input": "hello",
    }


async def test_actual_cost_may_differ_from_the_estimate(client: TestClient) -> None:
    answer = await client.post("/v1/runs", json={"estimated_dc": 5, "actual_dc": 2})

    assert answer.headers["X-DC-Used"] == "2"


async def test_a_repeated_idempotency_key_gets_the_same_run(client: TestClient) -> None:
    first = await client.post("/v1/runs", json={}, headers={"Idempotency-Key": "k"})
    again = await client.post("/v1/runs", json={}, headers={"Idempotency-Key": "k"})

    assert again.status == 202
    assert (await again.json())["run_id"] == (await first.json())["run_id"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_an_idempotency_key_with_another_body_is_refused(client: TestClient) -> None:
    await client.post("/v1/runs", json={}, headers={"Idempotency-Key": "k"})
    other = await client.post("/v1/runs", json={"input": "x"}, headers={"Idempotency-Key": "k"})

    assert other.status == 422


async def test_idempotency_keys_of_two_workspaces_do_not_meet(client: TestClient) -> None:
    ids = set()
    for workspace in ("ws_a", "ws_b"):
        headers = {"Idempotency-Key": "k", "X-Gateway-Workspace": workspace}
        answer = await client.post("/v1/runs", json={}, headers=headers)
        ids.add((await answer.json())["run_id"])

    assert len(ids) == 2


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_an_idempotency_key_has_a_bounded_length(client: TestClient, key: str) -> None:
    answer = await client.post("/v1/runs", json={}, headers={"Idempotency-Key": key})

    assert answer.status == 400


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "/"),
        (b"{", "/"),
        (b"[]", "/"),
        (b'{"input": 1}', "/input"),
        (b'{"estimated_dc": -1}', "/estimated_dc"),
        (b'{"estimated_dc": true}', "/estimated_dc"),
        (b'{"actual_dc": 1.5}', "/actual_dc"),
        (b'{"actual_dc": 1000001}', "/actual_dc"),
    ],
)
async def test_a_bad_body_is_422_and_says_where(client: TestClient, body: bytes, path: str) -> None:
    answer = await client.post("/v1/runs", data=body)

    assert answer.status == 422
    assert (await answer.json())["path"] == path


async def test_a_run_can_be_read_and_an_unknown_one_is_404(client: TestClient) -> None:
    created = await client.post("/v1/runs", json={})
    found = await client.get(created.headers["Location"])
    missing = await client.get("/v1/runs/run_none")

    assert (found.status, missing.status) == (200, 404)
    assert (await found.json())["status"] == "succeeded"


async def test_the_list_is_newest_first_and_bounded(client: TestClient) -> None:
    for _ in range(3):
        await client.post("/v1/runs", json={})
    listed = await client.get("/v1/runs", params={"limit": "2"})

    assert [run["run_id"][-1] for run in (await listed.json())["data"]] == ["3", "2"]


@pytest.mark.parametrize("limit", ["0", "101", "x", "1_0", "9" * 5000])
async def test_the_list_refuses_a_limit_outside_its_bounds(client: TestClient, limit: str) -> None:
    assert (await client.get("/v1/runs", params={"limit": limit})).status == 400


def test_the_store_forgets_the_oldest_run_and_its_key() -> None:
    store = RunStore(capacity=2)
    for name in ("a", "b", "c"):
        store.add(Run(name, 1, NOW_SECONDS, "", b""), ("", name))

    assert store.find("a") is None
    assert store.made_with(("", "a")) is None
    assert [run.run_id for run in store.newest(10)] == ["c", "b"]
