"""A runs API as the first served system has it: accept work, say what it used, list it.

A run costs what its body says (``actual_dc``, else ``estimated_dc``, else 1) and the answer's
``X-DC-Used`` tells. Work is done at once: a run that was accepted reads as succeeded.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import orjson
from aiohttp import web

from upstream_stubs.faults import bounded_integer

RUNS_KEPT_MAX = 10_000
DC_MAX = 1_000_000
INPUT_CHARACTERS_MAX = 100_000
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
PAGE_MAX = 100


@dataclass(frozen=True, slots=True)
class Run:
    """One accepted piece of work; ``request_digest`` tells a repeated call from a different one."""

    run_id: str
    dc_used: int
    created_at: int
    input: str
    request_digest: bytes

    def document(self, status: str) -> dict[str, object]:
        """Return what the API shows of the run."""
        return {
            "run_id": self.run_id,
            "status": status,
            "dc_used": self.dc_used,
            "created_at": self.created_at,
            "input": self.input,
        }


class RunStore:
    """The most recent runs, and which idempotency key made which.

    Keys are scoped by caller. An idempotency key is forgotten with its run.
    """

    def __init__(self, capacity: int = RUNS_KEPT_MAX) -> None:
        self._capacity = capacity
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._by_key: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._made = 0

    def next_id(self) -> str:
        """Return a new run id; ids are counted, so that demo and test output repeats."""
        self._made += 1
        return f"run_{self._made:012d}"

    def add(self, run: Run, key: tuple[str, str] | None) -> None:
        """Keep a run, dropping the oldest when full."""
        self._runs[run.run_id] = run
        if key is not None:
            self._by_key[key] = run.run_id
        if len(self._runs) > self._capacity:
            self._runs.popitem(last=False)
        if len(self._by_key) > self._capacity:
            self._by_key.popitem(last=False)

    def find(self, run_id: str) -> Run | None:
        """Return a run if it is still kept."""
        return self._runs.get(run_id)

    def made_with(self, key: tuple[str, str]) -> Run | None:
        """Return the run that an idempotency key made, if it is still kept."""
        run_id = self._by_key.get(key)
        return None if run_id is None else self._runs.get(run_id)

    def newest(self, limit: int) -> list[Run]:
        """Return up to ``limit`` runs, newest first."""
        return list(islice(reversed(self._runs.values()), limit))


class RunsApi:
    """The handlers of ``/v1/runs``."""

    def __init__(self, now_seconds: Callable[[], int]) -> None:
        self._store = RunStore()
        self._now_seconds = now_seconds

    async def create(self, request: web.Request) -> web.Response:
        """Accept a run: 202, or the same answer again for a repeated ``Idempotency-Key``."""
        key = _idempotency_key(request)
        body = await request.read()
        digest = hashlib.sha256(body).digest()
        earlier = None if key is None else self._store.made_with(key)
        if earlier is not None:
            if earlier.request_digest != digest:
                raise _unprocessable("/", "this Idempotency-Key was used with another body")
            return _accepted(earlier, replayed=True)
        text, dc_used = _parse(body)
        run = Run(self._store.next_id(), dc_used, self._now_seconds(), text, digest)
        self._store.add(run, key)
        return _accepted(run, replayed=False)

    async def read(self, request: web.Request) -> web.Response:
        """Show one run, or 404."""
        run = self._store.find(request.match_info["run_id"])
        if run is None:
            return web.json_response({"error": "no such run"}, status=404)
        return web.json_response(run.document("succeeded"))

    async def list(self, request: web.Request) -> web.Response:
        """Show the newest runs; ``limit`` is 1 to 100, 20 if not given."""
        limit = bounded_integer("limit", request.query.get("limit", "20"), 1, PAGE_MAX)
        runs = self._store.newest(limit)
        return web.json_response({"data": [run.document("succeeded") for run in runs]})


def add_routes(app: web.Application, now_seconds: Callable[[], int]) -> None:
    """Register the runs API."""
    api = RunsApi(now_seconds)
    app.router.add_post("/v1/runs", api.create)
    app.router.add_get("/v1/runs", api.list)
    app.router.add_get("/v1/runs/{run_id}", api.read)


def _idempotency_key(request: web.Request) -> tuple[str, str] | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX:
        raise web.HTTPBadRequest(text="Idempotency-Key must have 1 to 255 characters\n")
    # Behind a gateway that says whose request it is, two workspaces may use the same key.
    return request.headers.get("X-Gateway-Workspace", ""), key


def _parse(body: bytes) -> tuple[str, int]:
    """Return input and cost of a run's body. Raises ``HTTPUnprocessableEntity``."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _unprocessable("/", "must be JSON") from None
    if not isinstance(document, dict):
        raise _unprocessable("/", "must be an object")
    text = document.get("input", "")
    if not isinstance(text, str) or len(text) > INPUT_CHARACTERS_MAX:
        raise _unprocessable("/input", f"must be a string of up to {INPUT_CHARACTERS_MAX}")
    dc_used = 1
    for name in ("estimated_dc", "actual_dc"):
        given = document.get(name, dc_used)
        if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= DC_MAX:
            raise _unprocessable(f"/{name}", f"must be an integer, 0 to {DC_MAX}")
        dc_used = given
    return text, dc_used


def _accepted(run: Run, *, replayed: bool) -> web.Response:
    headers = {"Location": f"/v1/runs/{run.run_id}", "X-DC-Used": str(run.dc_used)}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return web.json_response(run.document("queued"), status=202, headers=headers)


def _unprocessable(path: str, message: str) -> web.HTTPUnprocessableEntity:
    return web.HTTPUnprocessableEntity(
        text=orjson.dumps({"error": "invalid run", "path": path, "message": message}).decode(),
        content_type="application/json",
    )
