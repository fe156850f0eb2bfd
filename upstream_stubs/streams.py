"""Answers of every shape: large, chunked, event by event, late, and of any status."""

import asyncio

from aiohttp import web

from upstream_stubs.faults import bounded_integer, status_response

DOWNLOAD_BYTES_MAX = 4 * 1024**3
PARTS_MAX = 10_000
INTERVAL_MS_MAX = 10_000
SLOW_SECONDS_MAX = 60

BLOCK = bytes(range(256)) * 256
"""64 KiB; byte ``i`` of a download is ``i % 256``, so that a shifted or lost part shows."""


async def download(request: web.Request) -> web.StreamResponse:
    """Send ``n`` bytes with Content-Length, 64 KiB at a time, as fast as they are taken."""
    left = bounded_integer("n", request.match_info["n"], 0, DOWNLOAD_BYTES_MAX)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = left
    await response.prepare(request)
    while left > 0:
        await response.write(BLOCK if left >= len(BLOCK) else BLOCK[:left])
        left -= min(left, len(BLOCK))
    await response.write_eof()
    return response


async def chunks(request: web.Request) -> web.StreamResponse:
    """Send ``n`` lines of JSON, a chunk each; ``interval_ms`` apart if asked for."""
    return await _send_parts(request, "application/x-ndjson", b'{"part":%d}\n')


async def events(request: web.Request) -> web.StreamResponse:
    """Send ``n`` server-sent events; ``interval_ms`` apart if asked for."""
    return await _send_parts(request, "text/event-stream", b"id: %d\ndata: tick\n\n")


async def status(request: web.Request) -> web.Response:
    """Answer with the status of the path, 200 to 599."""
    return status_response(bounded_integer("code", request.match_info["code"], 200, 599))


async def slow(request: web.Request) -> web.Response:
    """Answer after so many seconds; fractions are allowed, 60 at most."""
    try:
        seconds = float(request.match_info["seconds"])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= SLOW_SECONDS_MAX:  # refuses NaN too
        raise web.HTTPBadRequest(text=f"seconds must be 0 to {SLOW_SECONDS_MAX}\n")
    await asyncio.sleep(seconds)
    return web.json_response({"slept_seconds": seconds})


def add_routes(app: web.Application) -> None:
    """Register the answers of every shape."""
    app.router.add_get("/bytes/{n}", download)
    app.router.add_get("/stream/{n}", chunks)
    app.router.add_get("/sse/{n}", events)
    app.router.add_route("*", "/status/{code}", status)
    app.router.add_get("/slow/{seconds}", slow)


async def _send_parts(
    request: web.Request, content_type: str, template: bytes
) -> web.StreamResponse:
    parts = bounded_integer("n", request.match_info["n"], 0, PARTS_MAX)
    interval_ms = bounded_integer(
        "interval_ms", request.query.get("interval_ms", "0"), 0, INTERVAL_MS_MAX
    )
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    for number in range(parts):
        if number and interval_ms:
            await asyncio.sleep(interval_ms / 1000)
        await response.write(template % number)
    await response.write_eof()
    return response
