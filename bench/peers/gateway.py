"""The gateway as it is deployed over Redis: keys, limits, RateLimit fields, records, ledger.

The access log is off, as the other peers' logs are; metering records are written.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.peers import redis
from bench.peers.port import Running, launch, version_of
from bench.ports import free_port
from gateway import compiled

ROOT = Path(__file__).parent.parent.parent
PRICING = ROOT / "fixtures" / "pricing_ssot.json"
PLAN = "STARTER"
LIMITED_PLAN = "SANDBOX"
WORKSPACE = "bench"
UNKNOWN = "egw_test_AAAAAAAAAAAAAAAAAAAAAA1xHO25"
"""Of the right form, so that it is looked up."""
NEVER_REACHED = 1_000_000_000
"""Limits are counted like any other, but a load generator must not meet them."""


class Gateway:
    """One worker, its own Redis beside it, SQLite ledger."""

    name = "gateway"
    store = "tcp"
    launcher: tuple[str, ...] = ()
    """What the gateway is run under, a profiler say."""
    start_seconds = 20.0

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Start Redis, make workspaces and keys, listen on a free port."""
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "gateway"]
        _write_pricing(folder / "pricing.json")
        settings = ["--config", str(_write_routes(folder, upstream_port))]
        settings += ["--data-dir", str(folder / "data")]
        key = _make_key(command, settings)
        limited = _make_key(command, settings, "limited", LIMITED_PLAN)
        port = free_port()
        beside, counters = self._start_store(folder)
        settings += ["--counters", counters, "--log-level", "warning"]
        settings += ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{free_port()}"]
        try:
            process = launch(
                [*self.launcher, *command, "serve", *settings],
                folder,
                port,
                environment=_environment(),
                seconds=self.start_seconds,
            )
        except RuntimeError:
            for one in beside.values():
                one.kill()
                one.wait()
            raise
        return Running(
            port=port,
            version=f"{version_of([*command, 'version'])}, {_form()}",
            processes={self.name: process, **beside},
            headers={"Authorization": f"Bearer {key}"},
            children="shipping",
            callers={
                "limited": {"Authorization": f"Bearer {limited}"},
                "unknown": {"Authorization": f"Bearer {UNKNOWN}"},
            },
        )

    def _start_store(self, folder: Path) -> tuple[dict[str, subprocess.Popen[bytes]], str]:
        """Start what counters are kept in; return its processes and how the gateway finds it."""
        if self.store == "memory":
            return {}, "memory"
        socket = folder / "redis.sock" if self.store == "unix" else None
        port, process = redis.start(folder, socket=socket)
        found = f"unix://{socket}" if socket else f"redis://127.0.0.1:{port}/0"
        return {"redis": process}, found


class GatewayUnix(Gateway):
    """The same, with Redis over a Unix socket."""

    name = "gateway-unix"
    store = "unix"


class GatewayMemory(Gateway):
    """The same with counters in the process: no Redis."""

    name = "gateway-memory"
    store = "memory"


def _form() -> str:
    """Say whether the request path runs compiled, which halves what it takes."""
    return "compiled" if compiled.usable(compiled.FOLDER) else "from its sources"


def _environment() -> dict[str, str]:
    """Return this environment without settings that would win over the bench's own."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GATEWAY_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def _write_pricing(path: Path) -> None:
    """Write the sample pricing file with one plan's limits out of a load generator's reach."""
    pricing: dict[str, Any] = json.loads(PRICING.read_text())
    pricing["meters"] = pricing.get("meters", {}) | {"llm_tokens": {"unit": "tokens"}}
    for tier in pricing["tiers"]:
        if tier["tier"] == PLAN:
            tier["limits"]["rate_limit_rpm"] = NEVER_REACHED
            tier["limits"]["monthly_quota_dc"] = NEVER_REACHED
    path.write_text(json.dumps(pricing))


def _write_routes(folder: Path, upstream_port: int) -> Path:
    """Write the route file; JSON is YAML."""
    common = {
        "upstream": "target",
        "auth": {"key": ["bearer"]},
        "limits": ["rpm", "monthly_dc", "hard_overage_cap"],
        "on_store_failure": "closed",
    }
    tokens = {
        "reserve": {"json": "/max_tokens", "default": 100},
        "settle": {"json": "/usage/total_tokens"},
    }
    routes = [
        {
            "name": "status",
            "match": {"methods": ["GET", "POST"], "path": "/v1/{what}"},
            "cost": {"dc": 1},
        },
        {
            "name": "chat",
            "match": {"methods": ["POST"], "path": "/v1/chat/completions"},
            "cost": {"dc": 1, "llm_tokens": tokens},
        },
    ]
    document = {
        "version": 1,
        "pricing": "pricing.json",
        "ledger": f"sqlite:///{folder}/data/ledger.db",
        "access_log": {"sample": 0},
        "upstreams": {"target": {"endpoints": [f"http://127.0.0.1:{upstream_port}"]}},
        "routes": [route | common for route in routes],
    }
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(document, indent=2))
    return path


def _make_key(
    command: list[str], settings: list[str], workspace: str = WORKSPACE, plan: str = PLAN
) -> str:
    """Return the secret of a new key.

    Raises:
        RuntimeError: the gateway's own commands refuse.
    """
    steps = (
        ["workspaces", "create", workspace, "--plan", plan],
        ["keys", "create", workspace, "--json"],
    )
    printed = ""
    for step in steps:
        done = subprocess.run(
            [*command, *step, *settings],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=_environment(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"gateway {' '.join(step)}: {done.stderr or done.stdout}")
        printed = done.stdout
    key: str = json.loads(printed)["secret"]
    return key
