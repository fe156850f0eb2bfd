"""A gateway with as many keys, routes and policies as asked for, over its own Redis and SQLite."""

import hashlib
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bench.peers.port import Running, Unavailable, launch
from bench.ports import free_port, status_of
from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate

ROOT = Path(__file__).parents[2]
PLAN = "STARTER"
CREATED_AT_MICRO = 1_795_132_800_000_000
ROWS_PER_INSERT = 10_000
NEVER_REACHED = 9_000_000_000


@dataclass(frozen=True, slots=True)
class Setup:
    """What there is to be decided by."""

    keys: int = 1
    routes: int = 1
    policies: int = 2
    connections_max: int = 20_000


@dataclass(frozen=True, slots=True)
class Started:
    """A running gateway, and how long its start took."""

    running: Running
    start_seconds: float


def secret_of(number: int) -> str:
    """Return a key that was made elsewhere: hashes of ten million would take a coffee break."""
    return f"growth-key-{number:012d}"


def path_of(number: int) -> str:
    """Return a path that the route of this number takes; every other one has a parameter."""
    return f"/v1/page-{number}" if number % 2 else f"/v1/group-{number}/42/items"


def start(setup: Setup, folder: Path, upstream_port: int) -> Started:
    """Write keys and configuration, start Redis and the gateway, see that it answers.

    Raises:
        Unavailable: there is no Redis.
        RuntimeError: it does not answer.
    """
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        raise Unavailable("redis-server is not installed: apt-get install redis-server")
    (folder / "data").mkdir(parents=True)
    write_keys(folder / "data" / "ledger.db", setup.keys)
    route_file = _write_routes(setup, folder, upstream_port)
    redis_port, port = free_port(), free_port()
    redis = launch(
        [redis_server, "--port", str(redis_port), "--save", "", "--appendonly", "no"],
        folder / "redis",
        redis_port,
    )
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(route_file)]
    command += ["--counters", f"redis://127.0.0.1:{redis_port}/0", "--log-level", "warning"]
    command += ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{free_port()}"]
    command += ["--data-dir", str(folder / "data")]
    began = time.monotonic()
    try:
        process = launch(command, folder, port, environment=_environment())
    except RuntimeError:
        redis.kill()
        redis.wait()
        raise
    seconds = time.monotonic() - began
    running = Running(port=port, version="", processes={"gateway": process, "redis": redis})
    status, body = status_of(port, path_of(0), {"Authorization": f"Bearer {secret_of(0)}"})
    if status != 200:
        running.stop()
        raise RuntimeError(f"the gateway answers {status}: {body[:500]!r}")
    return Started(running, seconds)


def _environment() -> dict[str, str]:
    """Return this environment without settings that would win over the measurement's own."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("GATEWAY_") or name == "GATEWAY_COMPILED"
    }
    return kept | {"PYTHONPATH": str(ROOT)}


def write_keys(path: Path, count: int) -> None:
    """Make a migrated database with so many workspaces of one key each."""
    engine = create_engine_for(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous=OFF")
    numbers = iter(range(count))
    while page := list(islice(numbers, ROWS_PER_INSERT)):
        database.executemany("INSERT INTO workspaces VALUES (?, ?, ?, ?)", _workspaces(page))
        database.executemany(
            "INSERT INTO api_keys (key_id, key_hash, prefix, workspace_id, name, created_at_micro, "
            "networks) VALUES (?, ?, ?, ?, ?, ?, ?)",
            _keys(page),
        )
    database.commit()
    database.close()


def _workspaces(numbers: list[int]) -> Iterator[tuple[object, ...]]:
    for number in numbers:
        yield f"ws-{number:09d}", PLAN, "active", CREATED_AT_MICRO


def _keys(numbers: list[int]) -> Iterator[tuple[object, ...]]:
    for number in numbers:
        key_hash = hashlib.sha256(secret_of(number).encode()).digest()
        workspace_id = f"ws-{number:09d}"
        yield f"key-{number:09d}", key_hash, "growth", workspace_id, "", CREATED_AT_MICRO, "[]"


def _write_routes(setup: Setup, folder: Path, upstream_port: int) -> Path:
    """Write the route file; JSON is YAML."""
    names = [f"limit-{number}" for number in range(setup.policies)]
    policies = [
        {"name": name, "window": f"{60 * (number + 1)}s", "cap": NEVER_REACHED}
        for number, name in enumerate(names)
    ]
    routes = [
        {
            "name": f"route-{number}",
            "match": {"methods": ["GET"], "path": path_of(number).replace("/42/", "/{id}/")},
            "upstream": "target",
            "limits": names,
            "cost": {"dc": 1},
        }
        for number in range(setup.routes)
    ]
    pricing: dict[str, Any] = json.loads((ROOT / "fixtures" / "pricing_ssot.json").read_text())
    (folder / "pricing.json").write_text(json.dumps(pricing))
    document = {
        "version": 1,
        "pricing": "pricing.json",
        "ledger": f"sqlite:///{folder}/data/ledger.db",
        "foreign_keys": True,
        # A machine that is shared pauses for longer than the default; a refusal is no request.
        "store": {"deadline": "1s", "breaker_timeouts": 1000},
        "access_log": {"sample": 0},
        "limits": {"connections": setup.connections_max, "keep_alive": "3600s"},
        "upstreams": {"target": {"endpoints": [f"http://127.0.0.1:{upstream_port}"]}},
        "policies": policies,
        "routes": routes,
    }
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(document))
    return path
