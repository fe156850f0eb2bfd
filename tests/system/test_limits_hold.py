"""No limit is overrun, a refusal costs nothing, every edge is where the plan says."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import http_sf
import httpx
import pytest

from tests.support.gateway_process import GatewayProcess, body_of, wait_until
from tests.support.pricing_files import Document, tier_of
from tests.support.redis_server import RedisServer
from tests.support.scripted_upstream import ScriptedUpstream

ONE_COST = """\
- name: all
  match: {methods: [GET, POST], path: "/**"}
  upstream: app
  cost: {dc: {reserve: {header: X-Cost, default: 1}}}
"""


def starter(**limits: int) -> Callable[[Document], None]:
    """Return a change that gives STARTER other limits and no rate limit."""

    def change(document: Document) -> None:
        for name in ("SANDBOX", "STARTER"):
            tier_of(document, name)["limits"].update({"rate_limit_rpm": 0})
        tier_of(document, "STARTER")["limits"].update(limits)

    return change


async def many(gateway: GatewayProcess, key: str, number: int) -> Counter[int]:
    """Return the statuses of so many concurrent requests."""
    limits = httpx.Limits(max_connections=60)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        answers = await asyncio.gather(
            *(client.get(gateway.url, headers={"X-API-Key": key}) for _ in range(number))
        )
    return Counter(answer.status_code for answer in answers)


async def test_t1_three_hundred_concurrent_clients_get_exactly_their_quota(
    tmp_path: Path, upstream: ScriptedUpstream, counters: str
) -> None:
    """T1: 300 clients, quota 50: admitted = 50 exactly; the ledger agrees."""
    gateway = GatewayProcess(tmp_path, upstream.port, counters=counters, change=starter())
    gateway.start()
    try:
        key = await asyncio.to_thread(gateway.make_key, "SANDBOX")

        statuses = await many(gateway, key, 300)

        assert statuses == {200: 50, 429: 250}
        assert len(upstream.seen) == 50
        records = await asyncio.to_thread(gateway.wait_for_records, 300)
        assert sum(record.billable for record in records) == 50
    finally:
        gateway.stop()


def test_t3_refusal_changes_no_counter(
    tmp_path: Path, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """T3: a full dump of the store is the same before and after a 429."""
    gateway = GatewayProcess(
        tmp_path, upstream.port, counters=redis_server.url,
        change=lambda document: tier_of(document, "SANDBOX")["limits"].update(
            {"monthly_quota_dc": 3}
        ),
    ).start()  # fmt: skip
    try:
        key = gateway.make_key("SANDBOX")
        for _ in range(3):
            assert gateway.call(key).status_code == 200
        with redis_server.client() as client:
            before = {name: client.dump(name) for name in client.scan_iter()}
            ttls = {name: client.expiretime(name) for name in before}

            assert gateway.call(key).status_code == 429

            assert {name: client.dump(name) for name in client.scan_iter()} == before
            assert {name: client.expiretime(name) for name in before} == ttls
    finally:
        gateway.stop()


def test_t4_caps_are_where_the_plan_says(
    tmp_path: Path, upstream: ScriptedUpstream, counters: str
) -> None:
    """T4, A6, A13: STARTER passes 3030, refuses 3031; SANDBOX refuses 51; ENTERPRISE never."""
    gateway = GatewayProcess(
        tmp_path, upstream.port, counters=counters, change=starter(), routes=ONE_COST
    ).start()
    try:
        key = gateway.make_key("STARTER")
        assert gateway.call(key, headers={"X-Cost": "2000"}).status_code == 200
        for _ in range(2):
            assert gateway.call(key, headers={"X-Cost": "515"}).status_code == 200
        refused = gateway.call(key)
        assert refused.status_code == 429
        violated = body_of(refused)["violated-policies"]
        assert violated == [
            {"policy_name": "hard_overage_cap", "limit": 3000, "current": 3031,
             "window_seconds": None}
        ]  # fmt: skip
        flags = [record.flags for record in gateway.wait_for_records(4)]
        assert flags == [[], ["overage"], ["overage", "grace"], []]

        sandbox = gateway.make_key("SANDBOX", workspace="small")
        assert gateway.call(sandbox, headers={"X-Cost": "50"}).status_code == 200
        assert gateway.call(sandbox).status_code == 429

        enterprise = gateway.make_key("ENTERPRISE", workspace="large")
        answer = gateway.call(enterprise, headers={"X-Cost": "1000000"})
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers
    finally:
        gateway.stop()


def test_t7_and_t26_refusal_says_when_the_same_call_would_pass(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """T7, T26, A11: Retry-After equals t, is never 0, and the call passes then."""

    def change(document: Document) -> None:
        tier_of(document, "SANDBOX")["limits"].update(
            {"rate_limit_rpm": 2, "rate_limit_window_seconds": 2}
        )

    gateway = GatewayProcess(tmp_path, upstream.port, change=change).start()
    try:
        key = gateway.make_key("SANDBOX")
        refused = wait_until(
            lambda: next((a for _ in range(3) if (a := gateway.call(key)).status_code == 429), None)
        )
        state = dict(http_sf.parse(refused.headers["RateLimit"].encode(), tltype="list"))
        body = body_of(refused)

        assert int(refused.headers["Retry-After"]) == state["rpm"]["t"] in {1, 2}
        assert state["rpm"]["r"] == 0
        assert body["violated-policies"][0] == {
            "policy_name": "rpm", "limit": 2, "current": 3, "window_seconds": 2
        }  # fmt: skip
        assert body["next_plan"] == "STARTER"
        wait_until(lambda: gateway.call(key).status_code == 200, 4)
    finally:
        gateway.stop()


def test_t8_fraction_of_a_percent_of_grace_is_exact(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """T8: 0.5 % of 3000 is 15."""

    def change(document: Document) -> None:
        starter()(document)
        document["grace_overage"]["max_grace_percent"] = 0.5

    gateway = GatewayProcess(tmp_path, upstream.port, change=change, routes=ONE_COST).start()
    try:
        key = gateway.make_key("STARTER")

        assert gateway.call(key, headers={"X-Cost": "3015"}).status_code == 200
        assert gateway.call(key).status_code == 429
    finally:
        gateway.stop()


def test_t14_two_gateways_share_one_limit(
    tmp_path: Path, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """T14, X4, 0.10: one Redis, two processes, one quota."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = GatewayProcess(tmp_path / "a", upstream.port, counters=redis_server.url).start()
    two = GatewayProcess(tmp_path / "b", upstream.port, counters=redis_server.url)
    two.config.write_text(two.config.read_text() + f"keys: sqlite:///{tmp_path}/a/data/ledger.db\n")
    two.start()
    try:
        key = one.make_key("SANDBOX")

        statuses = Counter(
            gateway.call(key).status_code for _ in range(30) for gateway in (one, two)
        )

        assert statuses == {200: 50, 429: 10}
    finally:
        one.stop()
        two.stop()


def test_t20_absent_daily_quota_is_no_daily_limit(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """T20: and a daily quota that is there binds beside the monthly one (C2)."""

    def change(document: Document) -> None:
        tier_of(document, "SANDBOX")["limits_extra"] = [
            {"name": "daily", "kind": "quota", "meter": "dc", "window": "day", "cap": 2}
        ]
        tier_of(document, "STARTER")["limits_extra"] = [
            {"name": "daily", "kind": "quota", "meter": "dc", "window": "day", "cap": None}
        ]

    gateway = GatewayProcess(tmp_path, upstream.port, change=change).start()
    try:
        limited = gateway.make_key("SANDBOX")
        free = gateway.make_key("STARTER", workspace="free")

        assert [gateway.call(limited).status_code for _ in range(3)] == [200, 200, 429]
        assert [gateway.call(free).status_code for _ in range(5)] == [200] * 5
    finally:
        gateway.stop()


def test_t37_unlimited_is_a_type_not_a_number(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """T37, A2: zero under ``disabled`` means nothing, under ``custom_or_unlimited`` no limit."""

    def change(document: Document) -> None:
        document["unlimited_semantics"]["zero_means"] = "disabled"
        tier_of(document, "SANDBOX")["limits"]["rate_limit_rpm"] = 0

    gateway = GatewayProcess(tmp_path, upstream.port, change=change).start()
    try:
        assert gateway.call(gateway.make_key("SANDBOX")).status_code == 429
    finally:
        gateway.stop()


@pytest.mark.parametrize("form", ["delta", "epoch"])
def test_old_fields_where_a_route_asks_for_them(
    tmp_path: Path, upstream: ScriptedUpstream, form: str
) -> None:
    """B5."""
    routes = f"""\
- {{name: all, match: {{methods: [GET], path: "/**"}}, upstream: app, legacy_headers: {form}}}
"""
    gateway = GatewayProcess(tmp_path, upstream.port, routes=routes).start()
    try:
        answer = gateway.call(gateway.make_key("SANDBOX"))

        assert answer.headers["X-RateLimit-Limit"] == "60"
        assert answer.headers["X-RateLimit-Remaining"] == "59"
        assert (int(answer.headers["X-RateLimit-Reset"]) > 10**9) == (form == "epoch")
    finally:
        gateway.stop()
