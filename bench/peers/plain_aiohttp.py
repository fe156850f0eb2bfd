"""The gateway's job as one would write it first: aiohttp on both sides and redis-py, on uvloop.

A key by its SHA-256 from Redis, cached; two limits in one script; the RateLimit fields; one record
a request to a Redis stream. Runs as ``python -m bench.peers.plain_aiohttp PORT UPSTREAM REDIS``.
"""

import asyncio
import hashlib
import json
import os
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio
import uvloop
from aiohttp import web

from bench.peers.port import Running, launch
from bench.peers.redis import CHARGE, LIMIT, OTHER_CALLERS, SECRET, enter_keys, start
from bench.ports import free_port

ROOT = Path(__file__).parent.parent.parent
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}


class PlainAiohttp:
    """aiohttp and redis-py before the upstream."""

    name = "aiohttp"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Listen on a free port, with a Redis of its own."""
        redis_port, store = start(folder)
        enter_keys(redis_port)
        port = free_port()
        command = [sys.executable, "-m", "bench.peers.plain_aiohttp"]
        command += [str(port), str(upstream_port), str(redis_port)]
        try:
            process = launch(
                command, folder, port, environment=os.environ | {"PYTHONPATH": str(ROOT)}
            )
        except RuntimeError:
            store.kill()
            store.wait()
            raise
        return Running(
            port=port,
            version=f"aiohttp {aiohttp.__version__}",
            processes={"aiohttp": process, "redis": store},
            headers={"Authorization": f"Bearer {SECRET}"},
            callers=OTHER_CALLERS,
        )


class Service:
    """One request after the other."""

    def __init__(self, upstream: str, store: "redis.asyncio.Redis") -> None:
        self.upstream = upstream
        self.store = store
        self.charge = store.register_script(CHARGE)
        self.callers: dict[str, dict[str, Any]] = {}
        self.session: aiohttp.ClientSession

    async def caller_of(self, request: web.Request) -> dict[str, Any] | None:
        """Return who calls."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest = hashlib.sha256(secret.encode()).hexdigest()
        if digest not in self.callers:
            found = await self.store.get(f"key:{digest}")
            if found is None:
                return None
            self.callers[digest] = json.loads(found)
        return self.callers[digest]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one request."""
        started = time.time()  # noqa: TID251 - as one would write it
        caller = await self.caller_of(request)
        if caller is None:
            return web.json_response({"title": "unauthorised"}, status=401)
        minute = int(started) // 60 * 60
        now = datetime.fromtimestamp(started, UTC)
        ends = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC).timestamp()
        workspace = caller["workspace"]
        admitted, _, *after = await self.charge(
            keys=[f"rpm:{{{workspace}}}:{minute}", f"monthly:{{{workspace}}}:{now:%Y-%m}"],
            args=[caller["limit"], minute + 120, caller["limit"], int(ends) + 86400],
        )
        if not admitted:
            return web.json_response({"title": "too many requests"}, status=429)
        event_id = str(uuid.uuid4())
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in HOP_BY_HOP and name.lower() != "authorization"
        }
        headers["X-Request-Id"] = event_id
        async with self.session.request(
            request.method,
            self.upstream + request.raw_path,
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    response.headers.add(name, value)
            left = minute + 60 - int(started)
            response.headers["RateLimit-Policy"] = (
                f'"rpm";q={LIMIT};w=60, "monthly";q={LIMIT};w=2592000'
            )
            response.headers["RateLimit"] = (
                f'"rpm";r={LIMIT - after[0]};t={left}, '
                f'"monthly";r={LIMIT - after[1]};t={int(ends - started)}'
            )
            response.headers["X-Request-Id"] = event_id
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        record = {
            "event_id": event_id,
            **caller,
            "status": answer.status,
            "latency": time.time() - started,  # noqa: TID251
        }
        await self.store.xadd(
            "records", {"record": json.dumps(record)}, maxlen=1_000_000, approximate=True
        )
        return response


async def serve(port: int, upstream_port: int, redis_port: int) -> None:
    """Serve until killed."""
    # Without a bound of its own the pool refuses the hundred and first connection.
    pool = redis.asyncio.BlockingConnectionPool(port=redis_port, max_connections=64)
    store = redis.asyncio.Redis(connection_pool=pool)
    service = Service(f"http://127.0.0.1:{upstream_port}", store)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    service.session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(*map(int, sys.argv[1:])))
