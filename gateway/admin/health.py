"""Two questions of an orchestrator: is the process alive, and should it get requests?

Source: requirements B11 (health without version prefix), X9; design section 13 (readiness first).
"""

from collections.abc import Callable

import orjson
from aiohttp import web

Readiness = Callable[[], list[str]]
"""Returns why the worker should get no requests now, as stable words; empty means it should."""


Notices = Callable[[], list[str]]
"""Returns what an operator must look at though the worker serves, as stable words."""


def add_routes(app: web.Application, readiness: Readiness, notices: Notices = list) -> None:
    """Serve ``/healthz`` and ``/readyz``.

    Args:
        app: Gets the routes.
        readiness: See there.
        notices: See there; they leave the status as it is.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return _answer(200, {"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        reasons, noticed = readiness(), notices()
        more: dict[str, object] = {"notices": noticed} if noticed else {}
        if reasons:
            return _answer(503, {"status": "not_ready", "reasons": reasons, **more})
        return _answer(200, {"status": "ready", **more})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)


def _answer(status: int, document: dict[str, object]) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(document) + b"\n",
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
