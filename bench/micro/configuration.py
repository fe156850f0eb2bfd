"""The configuration that the pieces run under, made once and handed to every measuring process.

Two plans' limits are changed: one is out of reach, one is reached by the second request.
"""

import json
from pathlib import Path
from typing import Any

from gateway.config.settings import load
from gateway.config.transfer import dump

ROOT = Path(__file__).parents[2]
ROOMY_PLAN = "STARTER"
FULL_PLAN = "SANDBOX"
NEVER_REACHED = 1_000_000_000


def write_configuration(folder: Path) -> Path:
    """Write route file, pricing file and what they compile to; return the path of the latter."""
    pricing: dict[str, Any] = json.loads((ROOT / "fixtures" / "pricing_ssot.json").read_text())
    for tier in pricing["tiers"]:
        if tier["tier"] == ROOMY_PLAN:
            tier["limits"]["rate_limit_rpm"] = NEVER_REACHED
            tier["limits"]["monthly_quota_dc"] = NEVER_REACHED
        if tier["tier"] == FULL_PLAN:
            tier["limits"]["rate_limit_rpm"] = 1
    (folder / "pricing.json").write_text(json.dumps(pricing))
    route_file = folder / "gateway.yaml"
    route_file.write_text(json.dumps(_routes(), indent=2))
    compiled = folder / "configuration.json"
    compiled.write_bytes(dump(load(route_file, environ={}, overrides={})))
    return compiled


def _routes() -> dict[str, Any]:
    """Return a route file: one route is asked for, 199 others stand beside it. JSON is YAML."""
    asked = {
        "name": "status",
        "match": {"methods": ["GET"], "path": "/v1/status"},
        "upstream": "target",
        "limits": ["rpm", "monthly_dc", "hard_overage_cap"],
        "cost": {"dc": 1},
    }
    others = [
        {
            "name": f"other-{number}",
            "match": {"methods": ["GET", "POST"], "path": f"/v1/things-{number}/{{id}}/parts"},
            "upstream": "target",
        }
        for number in range(199)
    ]
    return {
        "version": 1,
        "pricing": "pricing.json",
        "upstreams": {"target": {"endpoints": ["http://127.0.0.1:9"]}},
        "routes": [asked, *others],
    }
