"""``/metrics`` for Prometheus, in the text form or OpenMetrics, as the scraper asks."""

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


def add_routes(app: web.Application, registry: CollectorRegistry) -> None:
    """Serve ``/metrics``."""

    async def metrics(request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
            body = encode(registry)
        except TypeError:  # prometheus_client compares a version's words with numbers
            encode, content_type = choose_encoder("")
            body = encode(registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    app.router.add_get("/metrics", metrics)
