"""C13: thousands of requests in a row are all answered, counted and recorded; none miscounted.

How fast is measured in ``bench`` (docs/benchmarks-growth.md), not asserted here.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.rules.units import MICRO
from tests.support.gateway_process import GatewayProcess, free_port
from tests.support.pricing_files import Document, tier_of
from tests.support.raw_service import head_of, pipeline, raw_upstream

REQUESTS = 3_000
PATIENT = "store: {deadline: 1s}"
"""A refusal because this machine was busy elsewhere would say nothing."""


def roomy(document: Document) -> None:
    limits = tier_of(document, "STARTER")["limits"]
    limits["rate_limit_rpm"] = limits["monthly_quota_dc"] = 1_000_000


@pytest.fixture
def gateway(counters: str, tmp_path: Path) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(
        tmp_path, free_port(), counters=counters, change=roomy, top=PATIENT
    ).start()
    yield gateway
    assert gateway.stop() == 0


async def test_of_thousands_of_requests_none_is_lost_or_miscounted(
    gateway: GatewayProcess,
) -> None:
    key = gateway.make_key("STARTER")
    heads = [head_of({"X-API-Key": key}, "/free")] * REQUESTS

    async with raw_upstream(port=gateway.upstream_port):
        statuses = await pipeline(gateway.port, heads)
        records = gateway.wait_for_records(REQUESTS)

    assert statuses == {200: REQUESTS}  # 99.9 % are too few: all
    assert len({record.event_id for record in records}) == len(records) == REQUESTS
    charged_micro = sum(record.charged_micro["dc"] for record in records)
    assert charged_micro == REQUESTS * MICRO  # 100 % accuracy
