"""``/metrics`` for Prometheus, in the text form or OpenMetrics, as the scraper asks."""

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


def add_routes(app: web.Application, registry: CollectorRegistry) -> None:
    """Serve ``/metrics``."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app.router.add_get("/metrics", metrics)
