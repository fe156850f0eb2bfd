"""Alive and ready are two questions (B11, X9; design section 13: readiness false first)."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.admin.health import Readiness, add_routes

Client = Callable[[Any], Awaitable[TestClient[Any, Any]]]


def app(readiness: Readiness) -> web.Application:
    made = web.Application()
    add_routes(made, readiness)
    return made


async def test_alive_is_told_even_when_not_ready(aiohttp_client: Client) -> None:
    client = await aiohttp_client(app(lambda: ["draining"]))

    answer = await client.get("/healthz")

    assert answer.status == 200
    assert await answer.json() == {"status": "alive"}


async def test_ready_when_there_is_no_reason_against_it(aiohttp_client: Client) -> None:
    client = await aiohttp_client(app(list))

    answer = await client.get("/readyz")

    assert answer.status == 200
    assert await answer.json() == {"status": "ready"}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_not_ready_says_all_reasons(aiohttp_client: Client) -> None:
    """SIGTERM: readiness turns false first, so that new requests go elsewhere."""
    client = await aiohttp_client(app(lambda: ["draining", "journal"]))

    answer = await client.get("/readyz")

    assert answer.status == 503
    assert await answer.json() == {"status": "not_ready", "reasons": ["draining", "journal"]}


async def test_readiness_is_asked_anew_each_time(aiohttp_client: Client) -> None:
    reasons = ["store"]
    client = await aiohttp_client(app(lambda: reasons))

    before = (await client.get("/readyz")).status
    reasons.clear()
    after = (await client.get("/readyz")).status

    assert (before, after) == (503, 200)


async def test_probes_may_ask_for_the_head_alone(aiohttp_client: Client) -> None:
    client = await aiohttp_client(app(list))

    assert (await client.head("/readyz")).status == 200
