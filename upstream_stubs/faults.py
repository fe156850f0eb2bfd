"""Failures and delays on demand, asked for by request fields, on every path but ``/healthz``."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

DELAY_MS_MAX = 60_000


def bounded_integer(name: str, text: str, lowest: int, highest: int) -> int:
    """Return ``text`` as an integer.

    Raises:
        aiohttp.web.HTTPBadRequest: not plain ASCII digits, or outside the bounds.
    """
    # int() alone would take "1_0", "+1", blanks, other scripts' digits, and 5,000 digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise web.HTTPBadRequest(text=f"{name} must be digits\n")
    value = int(text)
    if not lowest <= value <= highest:
        raise web.HTTPBadRequest(text=f"{name} must be {lowest} to {highest}\n")
    return value


@web.middleware
async def inject(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Obey ``X-Stub-Delay-Ms`` (wait first) and ``X-Stub-Status`` (answer so, do nothing)."""
    if request.path == "/healthz":
        return await handler(request)
    delay_ms = request.headers.get("X-Stub-Delay-Ms")
    if delay_ms is not None:
        delay = bounded_integer("X-Stub-Delay-Ms", delay_ms, 0, DELAY_MS_MAX)
        await asyncio.sleep(delay / 1000)
    status = request.headers.get("X-Stub-Status")
    if status is not None:
        return status_response(bounded_integer("X-Stub-Status", status, 200, 599))
    return await handler(request)


def status_response(status: int) -> web.Response:
    """Return a plain answer of that status; 204, 205 and 304 have no body."""
    if status in (204, 205, 304):
        return web.Response(status=status)
    return web.json_response({"status": status, "forced": True}, status=status)
