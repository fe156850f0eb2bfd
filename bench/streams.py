"""What the upstream's nginx can't do: events at a pace, WebSocket echo, a chat completion.

Runs as ``python -m bench.streams PORT``, behind that nginx.
"""

import asyncio
import sys

import uvloop
from aiohttp import WSMsgType, web

EVENT = b"data: " + b"0123456789abcdef" * 6 + b"\n\n"
EVENTS = 50
PACE_SECONDS = 0.01
CHUNK_BYTES = len(f"{len(EVENT):x}\r\n") + len(EVENT) + 2
"""An event as it goes over the wire."""
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_750_000_000,
    "model": "bench",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "one two three"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
}


async def _events(request: web.Request) -> web.StreamResponse:
    # Asks nginx, where it is between, not to gather.
    fields = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=fields)
    response.enable_chunked_encoding()
    await response.prepare(request)
    for _ in range(EVENTS):
        await response.write(EVENT)
        await asyncio.sleep(PACE_SECONDS)
    await response.write_eof()
    return response


async def _echo(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def _complete(request: web.Request) -> web.StreamResponse:
    await request.read()
    return web.json_response(COMPLETION)


async def serve(port: int) -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_get("/v1/events", _events)
    app.router.add_get("/v1/echo", _echo)
    app.router.add_post("/v1/chat/completions", _complete)
    # A load generator that goes away in the middle of a stream is no news.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
