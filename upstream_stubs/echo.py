"""Mirrors: what arrived, said back, so that a test can see what a proxy did to it."""

import hashlib

from aiohttp import WSMsgType, web

WS_MESSAGE_BYTES_MAX = 4 * 1024 * 1024


async def describe(request: web.Request) -> web.Response:
    """Say what was received: target and fields as they came, length and SHA-256 of the body.

    Fields are a list of pairs, so that order, case and duplicates show.
    """
    digest = hashlib.sha256()
    length = 0
    async for chunk in request.content.iter_any():
        digest.update(chunk)
        length += len(chunk)
    path, _, query = request.raw_path.partition("?")
    seen = {
        "method": request.method,
        "path": path,
        "query": query,
        "version": f"{request.version.major}.{request.version.minor}",
        "headers": [
            [name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers
        ],
        "body_bytes": length,
        "body_sha256": digest.hexdigest(),
    }
    return web.json_response(seen)


async def mirror(request: web.Request) -> web.StreamResponse:
    """Send the body back while it arrives: same length field, same content type."""
    response = web.StreamResponse()
    response.content_type = request.content_type
    if request.content_length is not None:
        response.content_length = request.content_length
    await response.prepare(request)
    async for chunk in request.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


async def mirror_messages(request: web.Request) -> web.WebSocketResponse:
    """Return every WebSocket message, text as text and binary as binary."""
    socket = web.WebSocketResponse(max_msg_size=WS_MESSAGE_BYTES_MAX)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def add_routes(app: web.Application) -> None:
    """Register the mirrors; ``/echo/raw`` goes before the catch-all."""
    app.router.add_get("/ws/echo", mirror_messages)
    app.router.add_route("*", "/echo/raw", mirror)
    app.router.add_route("*", "/echo", describe)
    app.router.add_route("*", "/echo/{rest:.*}", describe)
