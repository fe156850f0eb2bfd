"""LiteLLM's proxy before an OpenAI-style upstream: for the chat route, which is all that it does.

It comes from PyPI (held by hash in litellm.lock) and goes into a virtual environment of its own
below ``build/``. It checks one key, the master key: keys of its own, limits and spending would need
a PostgreSQL beside it, and cost more.
"""

import json
import os
from pathlib import Path

from bench.peers.port import Running, installed, launch
from bench.ports import free_port

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "bench" / "litellm.lock"
HOME = ROOT / "build" / "bench-litellm"
KEY = "sk-bench-0123456789"
START_SECONDS = 120.0


class Litellm:
    """LiteLLM's proxy, one worker."""

    name = "litellm"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Install if need be, listen on a free port."""
        program = installed(HOME, LOCK, "litellm")
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        file = folder / "litellm.yaml"
        file.write_text(json.dumps(_configuration(upstream_port)))
        command = [program, "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
        environment = os.environ | {
            "LITELLM_MASTER_KEY": KEY,
            "LITELLM_LOG": "ERROR",
            # No request for prices of models at the start.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        process = launch(
            [*command, "--num_workers", "1"],
            folder,
            port,
            environment=environment,
            seconds=START_SECONDS,
        )
        return Running(
            port=port,
            version=f"litellm {_locked_version()}",
            processes={"litellm": process},
            headers={"Authorization": f"Bearer {KEY}"},
        )


def _configuration(upstream_port: int) -> dict[str, object]:
    parameters = {
        "model": "openai/bench",
        "api_base": f"http://127.0.0.1:{upstream_port}/v1",
        "api_key": "not-needed",
    }
    return {
        "model_list": [{"model_name": "bench", "litellm_params": parameters}],
        "litellm_settings": {"telemetry": False},
    }


def _locked_version() -> str:
    line = next(line for line in LOCK.read_text().splitlines() if line.startswith("litellm=="))
    return line.split()[0].partition("==")[2]
