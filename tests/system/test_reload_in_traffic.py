"""A new pricing file takes over in mid-traffic: nobody notices but by the figures."""

import asyncio
from pathlib import Path

import httpx

from gateway.rules.record import Record
from tests.support.answer_judge import items_of, judge
from tests.support.gateway_process import GatewayProcess
from tests.support.pricing_files import Document, tier_of, write_pricing
from tests.support.raw_service import raw_upstream

CALLERS = 4
RATES = {f"2026-0{n}-01.v1.0.0": 100_000 + n for n in range(1, 5)}
"""Each version of the pricing file with a rate of its own, so that an answer tells its version."""


def write_version(gateway: GatewayProcess, version: str) -> None:
    def change(document: Document) -> None:
        document["pricing_version"] = version
        document["effective_from"] = "2020-01-01T00:00:00Z"
        tier_of(document, "GROWTH")["limits"]["rate_limit_rpm"] = RATES[version]

    write_pricing(gateway.pricing, change)


async def test_prices_change_in_mid_traffic_and_each_request_has_one_version(
    tmp_path: Path,
) -> None:
    """A3, X3: whole files only, no request fails, record and fields name the same version."""
    first, *later = RATES
    told: dict[str, int] = {}
    stopped = asyncio.Event()
    async with raw_upstream() as port:
        gateway = GatewayProcess(tmp_path, port)
        write_version(gateway, first)
        await asyncio.to_thread(gateway.start)
        key = await asyncio.to_thread(gateway.make_key, "GROWTH")

        async def call(client: httpx.AsyncClient) -> None:
            while not stopped.is_set():
                answer = await client.get(gateway.url, headers={"X-API-Key": key})
                assert answer.status_code == 200
                judge(answer)
                policies = items_of(answer.headers["RateLimit-Policy"])
                told[answer.headers["X-Request-Id"]] = policies["rpm"]["q"]
                await asyncio.sleep(0.005)

        async def change() -> None:
            for version in later:
                write_version(gateway, version)
                async with asyncio.timeout(10):
                    while RATES[version] not in told.values():
                        await asyncio.sleep(0.01)
            stopped.set()

        try:
            async with httpx.AsyncClient(timeout=10) as client, asyncio.TaskGroup() as tasks:
                tasks.create_task(change())
                for _ in range(CALLERS):
                    tasks.create_task(call(client))
            records: list[Record] = await asyncio.to_thread(gateway.wait_for_records, len(told))
        finally:
            gateway.stop()
    assert {record.request_id: RATES[str(record.pricing_version)] for record in records} == told
    assert sum(record.charged_micro["dc"] for record in records) == len(told) * 1_000_000
