"""``/metrics`` answers in the dialect that the scraper asks for (E10, D14)."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.admin.metrics import add_routes
from gateway.telemetry.exposition import create_registry
from gateway.telemetry.metrics import Stats

Client = Callable[[Any], Awaitable[TestClient[Any, Any]]]


def app(stats: Stats) -> web.Application:
    async def measure() -> None:
        stats.shipper.lag_records = stats.journal.records

    made = web.Application()
    add_routes(made, create_registry(stats, list, version="1.2.3"), measure)
    return made


async def test_metrics_speak_both_dialects(aiohttp_client: Client) -> None:
    client = await aiohttp_client(app(Stats()))

    plain = await client.get("/metrics")
    open_metrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})

    assert plain.content_type == "text/plain"
    assert 'gateway_build_info{version="1.2.3"} 1.0' in await plain.text()
    assert open_metrics.content_type == "application/openmetrics-text"
    assert (await open_metrics.text()).endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc",
        'application/openmetrics-text; version="1.0.0"',
        "text/plain; version=1.x, application/openmetrics-text",
        "application/openmetrics-text; version=" + "9" * 5000,
        ";;;=,,",
    ],
)
async def test_an_accept_that_makes_no_sense_gets_the_text_form(
    aiohttp_client: Client, accept: str
) -> None:
    client = await aiohttp_client(app(Stats()))

    answer = await client.get("/metrics", headers={"Accept": accept})

    assert answer.status == 200
    assert answer.content_type == "text/plain"


async def test_a_scrape_shows_the_numbers_of_its_moment(aiohttp_client: Client) -> None:
    stats = Stats()
    client = await aiohttp_client(app(stats))

    before = await (await client.get("/metrics")).text()
    stats.journal.records = 7
    after = await (await client.get("/metrics")).text()

    assert "gateway_journal_records_total 0.0" in before
    assert "gateway_journal_records_total 7.0" in after
    assert "gateway_shipper_lag_records 7.0" in after
