"""What is answered is recorded, billed once, and given back when it turns out not billable."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import http_sf
import httpx

from gateway.control.statements import statement_of
from gateway.process.clock import SystemClock
from gateway.process.wiring import open_ledger
from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.pricing_files import Document, tier_of
from tests.support.redis_server import RedisServer
from tests.support.scripted_upstream import ScriptedUpstream

SETTLED = """\
- name: runs
  match: {methods: [POST], path: /v1/runs}
  upstream: app
  cost: {dc: {reserve: 5, settle: {header: X-DC-Used}}}
- {name: all, match: {methods: [GET, POST], path: "/**"}, upstream: app}
"""


def rest_of(answer: httpx.Response, policy: str) -> object:
    """Return ``r`` of a policy by an independent parser."""
    return dict(http_sf.parse(answer.headers["RateLimit"].encode(), tltype="list"))[policy]["r"]


def test_t5_failed_try_does_not_burn_the_run_id(
    tmp_path: Path, upstream: ScriptedUpstream, counters: str
) -> None:
    """T5, A7, A9: 500 then 200 with one run id: the second is charged, a third is a repeat."""
    gateway = GatewayProcess(tmp_path, upstream.port, counters=counters).start()
    try:
        key = gateway.make_key("SANDBOX")
        upstream.statuses.extend([500, 200, 200])
        run = {"Idempotency-Key": "run-1"}

        first = gateway.call(key, headers=run)
        assert (first.status_code, rest_of(first, "monthly_dc")) == (500, 50)
        second = gateway.call(key, headers=run)
        assert (second.status_code, rest_of(second, "monthly_dc")) == (200, 49)
        third = gateway.call(key, headers=run)
        assert (third.status_code, rest_of(third, "monthly_dc")) == (200, 49)

        records = gateway.wait_for_records(3)
        assert [(r.status, r.billable, r.repeat) for r in records] == [
            (500, False, False),
            (200, True, False),
            (200, False, True),
        ]
        assert {record.run_id for record in records} == {"run-1"}
    finally:
        gateway.stop()


async def test_a_hundred_copies_of_a_run_are_one_charge_and_ninety_nine_repeats(
    tmp_path: Path, upstream: ScriptedUpstream, counters: str
) -> None:
    """T17, 0.11, A7, A9."""
    gateway = GatewayProcess(tmp_path, upstream.port, counters=counters).start()
    try:
        key = await asyncio.to_thread(gateway.make_key, "STARTER")
        headers = {"X-API-Key": key, "Idempotency-Key": '"quoted-run"'}
        async with httpx.AsyncClient(timeout=30) as client:
            answers = await asyncio.gather(
                *(client.get(gateway.url, headers=headers) for _ in range(100))
            )
        assert Counter(answer.status_code for answer in answers) == {200: 100}

        records = await asyncio.to_thread(gateway.wait_for_records, 100)

        assert Counter((r.billable, r.repeat) for r in records) == {
            (True, False): 1,
            (False, True): 99,
        }
        assert sum(r.charged_micro.get("dc", 0) for r in records) == 1_000_000
    finally:
        gateway.stop()


def test_t6_settlement_corrects_counter_and_ledger_in_the_period_of_the_charge(
    tmp_path: Path, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """T6, A5: actual cost from the answer; the counter lives 90 days beyond its period."""
    gateway = GatewayProcess(
        tmp_path, upstream.port, counters=redis_server.url, routes=SETTLED
    ).start()
    try:
        key = gateway.make_key("STARTER")
        upstream.headers["X-DC-Used"] = "2.5"

        answer = gateway.call(key, "/v1/runs", method="POST", content=b"{}")

        assert rest_of(answer, "monthly_dc") == 1997
        (record,) = gateway.wait_for_records(1)
        assert record.charged_micro == {"dc": 2_500_000}
        name = f"usage:{{acme}}:{record.period}"
        with redis_server.client() as client:
            wait_until(lambda: client.get(name) == b"2500000")
            (entry,) = (k for k in client.keys("usage:*"))
            assert entry.decode() == name
            year, month = map(int, str(record.period).split("-"))
            next_month = f"{year + month // 12}-{month % 12 + 1:02d}-01"

            ends = datetime.fromisoformat(next_month).replace(tzinfo=UTC) + timedelta(days=90)
            assert client.expiretime(name) == int(ends.timestamp())
    finally:
        gateway.stop()


async def test_t2_kill_in_mid_load_loses_no_record_and_leaves_no_immortal_counter(
    tmp_path: Path, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """T2, X6: every answered request is in the ledger once after kill -9; every key has a TTL."""
    gateway = GatewayProcess(tmp_path, upstream.port, counters=redis_server.url).start()
    key = await asyncio.to_thread(gateway.make_key, "ENTERPRISE")
    metered = await asyncio.to_thread(gateway.make_key, "GROWTH", workspace="metered")
    answered: list[str] = []

    async def load(client: httpx.AsyncClient, secret: str) -> None:
        while True:
            try:
                answer = await client.get(gateway.url, headers={"X-API-Key": secret})
            except httpx.HTTPError:
                return
            if answer.status_code == 200:
                answered.append(answer.headers["X-Request-Id"])

    async with httpx.AsyncClient(timeout=10) as client:
        callers = [asyncio.create_task(load(client, s)) for s in (key, metered) for _ in range(8)]  # noqa: TID251
        while len(answered) < 300:
            await asyncio.sleep(0.01)
        gateway.kill()
        await asyncio.gather(*callers)
    with redis_server.client() as client:
        names = client.keys()
        assert names
        assert all(client.ttl(name) > 0 for name in names)

    await asyncio.to_thread(gateway.start)
    try:
        records = await asyncio.to_thread(gateway.wait_for_records, len(answered))
        kept = [record.request_id for record in records]
        assert set(answered) <= set(kept)
        assert len(kept) == len(set(kept))
    finally:
        gateway.stop()


def test_memory_store_does_not_give_the_quota_back_at_a_restart(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """DESIGN 7: rebuilt from ledger and journal; run ids too."""
    gateway = GatewayProcess(tmp_path, upstream.port).start()
    key = gateway.make_key("SANDBOX")
    run = {"Idempotency-Key": "before"}
    assert rest_of(gateway.call(key, headers=run), "monthly_dc") == 49
    gateway.call(key)
    gateway.kill()
    gateway.start()
    try:
        repeated = gateway.call(key, headers=run)

        assert rest_of(repeated, "monthly_dc") == 48
        assert rest_of(gateway.call(key), "monthly_dc") == 47
    finally:
        gateway.stop()


def test_t23_one_zone_decides_month_and_day(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """T23: the file's zone, for periods, counters and records alike."""

    def change(document: Document) -> None:
        document["timezone"] = "Pacific/Kiritimati"
        tier_of(document, "SANDBOX")["limits_extra"] = [
            {"name": "daily", "kind": "quota", "meter": "dc", "window": "day", "cap": 20}
        ]

    gateway = GatewayProcess(tmp_path, upstream.port, change=change).start()
    try:
        key = gateway.make_key("SANDBOX")
        answer = gateway.call(key)
        state = dict(http_sf.parse(answer.headers["RateLimit"].encode(), tltype="list"))
        (record,) = gateway.wait_for_records(1)

        zone = ZoneInfo("Pacific/Kiritimati")
        at = datetime.fromtimestamp(record.occurred_at_micro / 10**6, zone)
        midnight = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)

        assert record.period == f"{at:%Y-%m}"
        assert abs(state["daily"]["t"] - (midnight - at).total_seconds()) <= 1
    finally:
        gateway.stop()


def test_statement_is_made_of_the_ledger(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """A18: STARTER at 3020: nothing refused, 20 waived, 107,000 KRW."""
    routes = """\
- name: all
  match: {methods: [GET], path: "/**"}
  upstream: app
  cost: {dc: {reserve: {header: X-Cost, default: 1}}}
"""
    gateway = GatewayProcess(tmp_path, upstream.port, routes=routes).start()
    try:
        key = gateway.make_key("STARTER")
        for cost in ("3000", "20"):
            assert gateway.call(key, headers={"X-Cost": cost}).status_code == 200
        (record, _) = gateway.wait_for_records(2)
    finally:
        gateway.stop()

    loaded = gateway.loaded()
    ledger = open_ledger(loaded.settings)
    try:
        statement = statement_of(
            gateway.registry(), ledger, loaded.snapshot, SystemClock(),
            workspace_id="acme", period_id=str(record.period),
        ).statement  # fmt: skip
    finally:
        ledger.close()
    assert (statement.used_units, statement.waived_grace_units, statement.amount_minor) == (
        3020,
        20,
        107_000,
    )
