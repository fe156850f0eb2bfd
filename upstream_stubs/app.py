"""Puts the sample APIs together into one aiohttp application."""

import time
from collections.abc import Callable

from aiohttp import web

from upstream_stubs import chat, echo, faults, runs, streams

JSON_BODY_BYTES_MAX = 1024 * 1024
"""Only handlers that read a whole body heed it; ``/echo`` streams and takes any length."""


def _now_seconds() -> int:
    return time.time_ns() // 1_000_000_000


def create_app(now_seconds: Callable[[], int] = _now_seconds) -> web.Application:
    """Return the application.

    Args:
        now_seconds: Unix time in whole seconds; stamps runs and completions.
    """
    app = web.Application(client_max_size=JSON_BODY_BYTES_MAX, middlewares=[faults.inject])
    app.router.add_get("/healthz", _healthz)
    runs.add_routes(app, now_seconds)
    chat.add_routes(app, now_seconds)
    echo.add_routes(app)
    streams.add_routes(app)
    return app


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})
