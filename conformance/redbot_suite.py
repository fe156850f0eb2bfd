"""REDbot: what a critic of HTTP answers says of those that come through the gateway.

An upstream's answer is looked at twice, at the upstream and through the gateway: the gateway may
give no cause for a complaint that there is not without it. The gateway's own answers may give none.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from conformance.outcome import BUILD, ROOT, Check, MissingToolError
from conformance.subject import Subject, running

SUITE: Final = "redbot"
PYTHON: Final = ROOT / "build" / "conformance-redbot" / "bin" / "python"
WATCHED: Final = ("bad", "warning")
"""Levels of notes that an answer through the gateway may not have more of."""
KEY: Final = "conformance-0123456789-0123456789-0123456789"
ROUTES: Final = """\
policies:
  - {{name: once, window: 3600s, cap: 1, scope: workspace}}
upstreams:
  app: {{endpoints: ["http://127.0.0.1:{upstream}"]}}
  away: {{endpoints: ["http://127.0.0.1:1"]}}
routes:
  - {{name: open, match: {{methods: [GET], path: "/open/**"}}, upstream: app, auth: none}}
  - {{name: away, match: {{methods: [GET], path: "/away"}}, upstream: away, auth: none}}
  - {{name: keyed, match: {{methods: [GET], path: "/keyed/**"}}, upstream: app}}
  - {{name: once, match: {{methods: [GET], path: "/once/**"}}, upstream: app, limits: [once]}}
"""
KEYS: Final = """\
version: 1
workspaces:
  - id: acme
    plan: GROWTH
    keys: [{{id: key_a, prefix: {prefix}, sha256: "{sha256}", name: conformance}}]
"""
_TEXT: Final = "The quick brown fox jumps over the lazy dog.\n" * 100


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and the status that its answer has to have."""

    name: str
    path: str
    status: str
    fields: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    is_own: bool = False


ASKS: Final = (
    Ask("200 with caching fields", "/open/cached", "200"),
    Ask("200 not to be stored", "/open/private", "200"),
    Ask("200 packed with gzip", "/open/packed", "200", {"Accept-Encoding": "gzip"}),
    Ask("200 to HEAD", "/open/cached", "200", method="HEAD"),
    Ask("200 with limits told", "/keyed/cached", "200", {"X-API-Key": KEY}),
    Ask("206 of a range", "/open/cached", "206", {"Range": "bytes=0-99"}),
    Ask("304 of a condition", "/open/cached", "304", {"If-None-Match": '"fox"'}),
    Ask("404 of the upstream", "/open/missing", "404"),
    Ask("302 elsewhere", "/open/moved", "302"),
    Ask("401 without a key", "/keyed/cached", "401", is_own=True),
    Ask("404 without a route", "/nowhere", "404", is_own=True),
    Ask("405 of another method", "/open/cached", "405", method="DELETE", is_own=True),
    Ask("429 over a limit", "/once/cached", "429", {"X-API-Key": KEY}, is_own=True),
    Ask("502 without an upstream", "/away", "502", is_own=True),
)


def checks(only: str = "") -> Iterator[Check]:
    """Ask for all of it and compare the notes."""
    if not PYTHON.exists():
        raise MissingToolError("redbot (tools/ensure_conformance.sh installs it)")
    yield from asyncio.run(_checked([ask for ask in ASKS if only in ask.name]))


async def _checked(asks: list[Ask]) -> list[Check]:
    runner = web.AppRunner(_upstream(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    try:
        keys = _key_file()
        with running(
            "redbot",
            upstream_port=port,
            routes=ROUTES,
            top=f"keys: file:{keys}\nforeign_keys: true",
        ) as it:
            await _use_up(it)
            direct = await _notes(asks, port)
            through = await _notes(asks, it.port)
    finally:
        await runner.cleanup()
    return [_check(*each) for each in zip(asks, direct, through, strict=True)]


def _check(ask: Ask, direct: dict[str, Any], through: dict[str, Any]) -> Check:
    if "error" in through or through["status"] != ask.status:
        return Check(SUITE, ask.name, f"expected {ask.status}, got {through}")
    without = [] if ask.is_own else direct["notes"]
    known = {(level, name) for level, name, _, _ in without}
    new = [note for note in through["notes"] if (note[0], note[1]) not in known]
    faults = [" ".join(note) for note in new if note[0] in WATCHED]
    says = ", ".join(sorted({note[1] for note in new})) or "nothing"
    return Check(SUITE, ask.name, "\n".join(faults), f"noted only through the gateway: {says}")


async def _notes(asks: list[Ask], port: int) -> list[dict[str, Any]]:
    lines = [
        json.dumps([f"http://127.0.0.1:{port}{ask.path}", ask.method, dict(ask.fields)])
        for ask in asks
    ]
    process = await asyncio.create_subprocess_exec(
        str(PYTHON),
        str(Path(__file__).with_name("redbot_notes.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate("\n".join([*lines, ""]).encode())
    if process.returncode:
        raise RuntimeError(f"REDbot failed:\n{told.decode(errors='replace')[-2000:]}")
    (BUILD / f"redbot-{port}.jsonl").write_bytes(out)
    return [json.loads(line) for line in out.splitlines()]


def _key_file() -> Path:
    folder = BUILD / "redbot"
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "keys.yaml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys.write_text(KEYS.format(prefix=KEY[:16], sha256=digest))
    return keys


async def _use_up(subject: Subject) -> None:
    """Spend the one request of the limited route."""
    reader, writer = await asyncio.open_connection("127.0.0.1", subject.port)
    request = (
        f"GET /once/cached HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n"
    )
    writer.write(request.encode())
    answer = await reader.read(-1)
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"the limited route does not serve: {answer[:300]!r}")


def _upstream() -> web.Application:
    """Return an upstream that knows caching, conditions, ranges and gzip, in any folder."""
    app = web.Application()
    app.router.add_get("/{folder}/cached", _cached)
    app.router.add_get("/{folder}/private", _private)
    app.router.add_get("/{folder}/packed", _packed)
    app.router.add_get("/{folder}/moved", _moved)
    return app


async def _cached(request: web.Request) -> web.StreamResponse:
    fields = {
        "ETag": '"fox"', "Last-Modified": "Sun, 01 Mar 2026 10:00:00 GMT",
        "Cache-Control": "max-age=600", "Accept-Ranges": "bytes",
    }  # fmt: skip
    since = request.headers.get("If-Modified-Since")
    if request.headers.get("If-None-Match") == '"fox"' or since == fields["Last-Modified"]:
        return web.Response(status=304, headers=fields)
    wanted = request.http_range
    if wanted.start is None and wanted.stop is None:
        return web.Response(text=_TEXT, headers=fields)
    part = _TEXT[wanted]
    start = _TEXT.index(part) if wanted.start is None else wanted.start
    fields["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(_TEXT)}"
    return web.Response(status=206, text=part, headers=fields)


async def _private(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"fox": "brown"}, headers={"Cache-Control": "no-store"})


async def _packed(_request: web.Request) -> web.StreamResponse:
    fields = {"Vary": "Accept-Encoding", "Cache-Control": "max-age=600"}
    answer = web.Response(text=_TEXT, headers=fields)
    answer.enable_compression()
    return answer


async def _moved(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/open/cached"})
