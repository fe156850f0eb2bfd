"""The admin plane's server: health, readiness and metrics on a port of its own, nothing else.

It asks for no password: bind it to loopback (the default) or to a network that only the
orchestrator and the scraper reach. It shows no key, no workspace and no configuration.
"""

from collections.abc import Sequence

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway.admin import health, metrics
from gateway.admin.listener import AdminSite
from gateway.errors import GatewayError
from gateway.http.addresses import address_in

SHUTDOWN_SECONDS = 1.0
"""A scrape in flight at shutdown is not worth waiting for longer."""

_log = structlog.get_logger("admin")


def create_app(
    readiness: health.Readiness,
    registry: CollectorRegistry,
    measure: metrics.Measure,
    notices: health.Notices = list,
) -> web.Application:
    """Return the application.

    Args:
        readiness: Why the worker should get no requests now; empty if it should.
        registry: What ``/metrics`` renders.
        measure: Awaited before it is rendered.
        notices: What an operator must look at though the worker serves.
    """
    app = web.Application()
    app.on_response_prepare.append(_hide_server)
    health.add_routes(app, readiness, notices)
    metrics.add_routes(app, registry, measure)
    return app


async def start_admin(
    addresses: Sequence[tuple[str, int]],
    readiness: health.Readiness,
    registry: CollectorRegistry,
    measure: metrics.Measure,
    notices: health.Notices = list,
) -> web.AppRunner:
    """Listen and serve until the returned runner's ``cleanup()``.

    Args:
        addresses: Hosts and ports; loopback unless the network around them is trusted. Port 0 takes
            a free one; ``runner.addresses`` tells which.
        readiness: See ``create_app``.
        registry: See ``create_app``.
        measure: See ``create_app``.
        notices: See ``create_app``.

    Raises:
        GatewayError: an address can't be bound; then none is.
    """
    app = create_app(readiness, registry, measure, notices)
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    for host, port in addresses:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            await AdminSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise GatewayError(
                "admin.cannot_listen",
                f"the admin plane can't listen on {shown}: {error.strerror or error}",
                "choose another address with --admin-listen",
            ) from error
        if not _is_loopback(host):
            _log.warning("admin.exposed", address=shown)
    return runner


def _is_loopback(host: str) -> bool:
    address = address_in(host)
    return host == "localhost" if address is None else address.is_loopback


async def _hide_server(_request: web.Request, response: web.StreamResponse) -> None:
    """Name no software and no version to whoever asks."""
    response.headers.pop("Server", None)
