"""``/metrics`` for Prometheus, in the text form or OpenMetrics, as the scraper asks."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Measure = Callable[[], Awaitable[None]]
"""Brings up to date what is not counted as it happens: ages, for instance."""


def add_routes(app: web.Application, registry: CollectorRegistry, measure: Measure) -> None:
    """Serve ``/metrics``."""

    async def metrics(request: web.Request) -> web.Response:
        await measure()
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
            body = encode(registry)
        except TypeError:  # prometheus_client compares a version's words with numbers
            encode, content_type = choose_encoder("")
            body = encode(registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    app.router.add_get("/metrics", metrics)
