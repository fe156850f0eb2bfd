"""The gateway as it is deployed over Redis: keys, limits, RateLimit fields, records, ledger.

The access log is off, as the other peers' logs are; metering records are written.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.peers.port import Running, Unavailable, launch, version_of
from bench.ports import free_port

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

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Start Redis, make a workspace and a key, listen on a free port."""
        redis_server = shutil.which("redis-server")
        if redis_server is None:
            raise Unavailable("redis-server is not installed: apt-get install redis-server")
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "gateway"]
        _write_pricing(folder / "pricing.json")
        settings = ["--config", str(_write_routes(folder, upstream_port))]
        settings += ["--data-dir", str(folder / "data")]
        key = _make_key(command, settings)
        limited = _make_key(command, settings, "limited", LIMITED_PLAN)
        redis_port, port = free_port(), free_port()
        redis = launch(
            [redis_server, "--port", str(redis_port), "--save", "", "--appendonly", "no"],
            folder / "redis",
            redis_port,
        )
        settings += ["--counters", f"redis://127.0.0.1:{redis_port}/0"]
        settings += ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{free_port()}"]
        settings += ["--log-level", "warning"]
        try:
            process = launch(
                [*command, "serve", *settings], folder, port, environment=_environment()
            )
        except RuntimeError:
            redis.kill()
            redis.wait()
            raise
        return Running(
            port=port,
            version=version_of([*command, "version"]),
            processes={"gateway": process, "redis": redis},
            headers={"Authorization": f"Bearer {key}"},
            children="shipping",
            callers={
                "limited": {"Authorization": f"Bearer {limited}"},
                "unknown": {"Authorization": f"Bearer {UNKNOWN}"},
            },
        )


def _environment() -> dict[str, str]:
    """Return this environment without settings that would win over the bench's own."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GATEWAY_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def _write_pricing(path: Path) -> None:
    """Write the sample pricing file with one plan's limits out of a load generator's reach."""
    pricing: dict[str, Any] = json.loads(PRICING.read_text())
    for tier in pricing["tiers"]:
        if tier["tier"] == PLAN:
            tier["limits"]["rate_limit_rpm"] = NEVER_REACHED
            tier["limits"]["monthly_quota_dc"] = NEVER_REACHED
    path.write_text(json.dumps(pricing))


def _write_routes(folder: Path, upstream_port: int) -> Path:
    """Write the route file; JSON is YAML."""
    route = {
        "name": "status",
        "match": {"methods": ["GET"], "path": "/v1/{what}"},
        "upstream": "target",
        "auth": {"key": ["bearer"]},
        "limits": ["rpm", "monthly_dc", "hard_overage_cap"],
        "cost": {"dc": 1},
        "on_store_failure": "closed",
    }
    document = {
        "version": 1,
        "pricing": "pricing.json",
        "ledger": f"sqlite:///{folder}/data/ledger.db",
        "access_log": {"sample": 0},
        "upstreams": {"target": {"endpoints": [f"http://127.0.0.1:{upstream_port}"]}},
        "routes": [route],
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
