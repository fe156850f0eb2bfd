"""Every plan's rate is met exactly: the last call of a window passes, the next is refused.

Windows are a day long here, so that no test waits for one; the figures are the plans' own.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.answer_judge import items_of
from tests.support.gateway_process import GatewayProcess, body_of, free_port
from tests.support.pricing_files import Document, tier_of
from tests.support.raw_service import head_of, pipeline, raw_upstream
from tests.support.redis_server import RedisServer

DAY_SECONDS = 86_400
ROUTES = """\
- {name: free, match: {methods: [GET], path: /free}, upstream: app, cost: {dc: 0}}
- name: all
  match: {methods: [GET], path: "/**"}
  upstream: app
  cost: {dc: {reserve: {header: X-Cost, default: 1}}}
"""


def day_long(document: Document) -> None:
    for name in ("SANDBOX", "STARTER", "GROWTH", "ENTERPRISE"):
        tier_of(document, name)["limits"]["rate_limit_window_seconds"] = DAY_SECONDS


@pytest.fixture(scope="module", params=["memory", "redis"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway per counter store; each test brings workspaces of its own."""
    folder: Path = tmp_path_factory.mktemp("rates")
    counters = "memory"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_session")
        counters = server.url
    gateway = GatewayProcess(
        folder, free_port(), counters=counters, change=day_long, routes=ROUTES
    ).start()
    yield gateway
    assert gateway.stop() == 0


@pytest.mark.parametrize(("plan", "rate"), [("SANDBOX", 60), ("STARTER", 600), ("GROWTH", 3000)])
async def test_last_call_of_a_window_passes_and_the_next_is_refused(
    gateway: GatewayProcess, plan: str, rate: int
) -> None:
    """A4, 0.6: 600 pass, the 601st is refused; so with 60 and 3,000."""
    key = await asyncio.to_thread(gateway.make_key, plan, workspace=f"edge-{plan.lower()}")
    async with raw_upstream(port=gateway.upstream_port):
        statuses = await pipeline(gateway.port, [head_of({"X-API-Key": key}, "/free")] * rate)
    assert statuses == {200: rate}

    refused = await asyncio.to_thread(gateway.call, key, "/free")

    assert refused.status_code == 429
    (violated,) = body_of(refused)["violated-policies"]
    assert violated == {
        "policy_name": "rpm", "limit": rate, "current": rate + 1, "window_seconds": DAY_SECONDS
    }  # fmt: skip
    assert items_of(refused.headers["RateLimit"])["rpm"]["r"] == 0


async def test_t37_plan_without_rate_is_never_refused(gateway: GatewayProcess) -> None:
    """T37, A12: ENTERPRISE's zeros are no limit, and no limit is not told."""
    key = await asyncio.to_thread(gateway.make_key, "ENTERPRISE", workspace="edge-enterprise")
    async with raw_upstream(port=gateway.upstream_port):
        statuses = await pipeline(gateway.port, [head_of({"X-API-Key": key})] * 3100)
        answer = await asyncio.to_thread(gateway.call, key)

    assert statuses == {200: 3100}
    assert "RateLimit" not in answer.headers


@pytest.mark.long
async def test_a_hundred_thousand_calls_without_a_limit_are_never_refused(
    gateway: GatewayProcess,
) -> None:
    """0.43, A13: ENTERPRISE, on the memory store and on Redis."""
    key = await asyncio.to_thread(gateway.make_key, "ENTERPRISE", workspace="many-enterprise")
    async with raw_upstream(port=gateway.upstream_port):
        statuses = await pipeline(gateway.port, [head_of({"X-API-Key": key})] * 100_000)
        answer = await asyncio.to_thread(gateway.call, key)

    assert statuses == {200: 100_000}
    assert "RateLimit" not in answer.headers
    assert "RateLimit-Policy" not in answer.headers


async def test_t3_refusal_by_one_limit_counts_in_no_other(gateway: GatewayProcess) -> None:
    """T3: refused by the month, the rate is where it was; refused by the rate, the month is."""
    key = await asyncio.to_thread(gateway.make_key, "SANDBOX", workspace="untouched")
    call = head_of({"X-API-Key": key, "X-Cost": "51"})
    async with raw_upstream(port=gateway.upstream_port):
        assert await pipeline(gateway.port, [call] * 100) == {429: 100}
        first = await asyncio.to_thread(gateway.call, key)
        assert {n: i["r"] for n, i in items_of(first.headers["RateLimit"]).items()} == {
            "rpm": 59,
            "monthly_dc": 49,
        }
        free = head_of({"X-API-Key": key}, "/free")
        assert await pipeline(gateway.port, [free] * 59) == {200: 59}
        assert await pipeline(gateway.port, [head_of({"X-API-Key": key})] * 100) == {429: 100}

    last = await asyncio.to_thread(gateway.call, key)

    assert {n: i["r"] for n, i in items_of(last.headers["RateLimit"]).items()} == {
        "rpm": 0,
        "monthly_dc": 49,
    }


async def test_t26_two_limits_are_both_named_and_the_later_one_is_waited_for(
    gateway: GatewayProcess,
) -> None:
    """T26, A10: ``Retry-After`` is when the same call would pass: both limits must let it."""
    key = await asyncio.to_thread(gateway.make_key, "SANDBOX", workspace="both")
    async with raw_upstream(port=gateway.upstream_port):
        dear = head_of({"X-API-Key": key, "X-Cost": "30"})
        assert await pipeline(gateway.port, [dear]) == {200: 1}
        free = head_of({"X-API-Key": key}, "/free")
        assert await pipeline(gateway.port, [free] * 59) == {200: 59}

    refused = await asyncio.to_thread(gateway.call, key, headers={"X-Cost": "21"})

    violated = body_of(refused)["violated-policies"]
    assert [v["policy_name"] for v in violated] == ["rpm", "monthly_dc"]
    assert [v["current"] for v in violated] == [61, 51]
    waits = [item["t"] for item in items_of(refused.headers["RateLimit"]).values()]
    assert int(refused.headers["Retry-After"]) == max(waits)


def test_t26_call_that_can_never_pass_is_told_no_time(gateway: GatewayProcess) -> None:
    """T26: dearer than the whole month: waiting helps nothing, so none is suggested."""
    key = gateway.make_key("SANDBOX", workspace="never")

    refused = gateway.call(key, headers={"X-Cost": "51"})

    assert refused.status_code == 429
    assert "Retry-After" not in refused.headers
    assert items_of(refused.headers["RateLimit"])["monthly_dc"]["r"] == 50
