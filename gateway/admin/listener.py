"""Where the admin plane listens: few connections, none of them waited for without end.

Nobody on this port may lock out the probes: one connection too many ends the oldest one, and what
sends no whole head ends by itself.
"""

import asyncio
from typing import Final

from aiohttp import web

CONNECTIONS_MAX: Final = 64
"""Orchestrator and scrapers need a handful."""

IDLE_SECONDS: Final = 75.0
"""For a head, or between two requests: a scraper comes each minute on a kept connection."""


class AdminSite(web.BaseSite):
    """Listens for a runner that is set up.

    Args:
        runner: Serves the connections and closes this site at its cleanup.
        host: An address.
        port: 0 takes a free one.
        idle_seconds: How long a connection may be without a request.
    """

    def __init__(
        self, runner: web.BaseRunner, host: str, port: int, *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._idle_seconds = idle_seconds

    @property
    def name(self) -> str:
        """Return the URL, for messages."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises ``OSError``."""
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, self._host, self._port)

    def _accept(self) -> web.RequestHandler:
        server = self._runner.server
        assert server is not None
        held = [handler.transport for handler in server.connections]
        alive = [found for found in held if found is not None and not found.is_closing()]
        if len(alive) >= CONNECTIONS_MAX:
            alive[0].abort()
        return _Connection(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._idle_seconds,
            access_log=None,  # type: ignore[arg-type] # as its runners give it
        )


class _Connection(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP without repeating it: it may hold a key."""
        if status != 400:
            return super().handle_error(request, status, exc, message)
        refusal = _NamelessResponse(status=400)
        refusal.force_close()
        return refusal


class _NamelessResponse(web.Response):
    """An answer that the application's signals don't reach, and that names no software either."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Server", None)
