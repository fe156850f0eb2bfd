"""``python -m gateway.config``: read a configuration for another process.

Takes ``{"path", "overrides", "version"}`` on stdin; answers on stdout with the configuration, or
with what is wrong with it.
"""

import os
import sys
from dataclasses import asdict
from pathlib import Path

from gateway.config.settings import load
from gateway.config.transfer import dump, json_bytes, json_value
from gateway.errors import ConfigError, GatewayError


def answer(request: bytes) -> bytes:
    """Return the configuration as ``transfer`` writes it, or ``{"faults"}`` or ``{"error"}``."""
    asked = json_value(request)
    try:
        loaded = load(
            Path(asked["path"]),
            environ=os.environ,
            overrides=asked["overrides"],
            version=asked["version"],
            is_to_serve=True,
        )
    except ConfigError as error:
        return json_bytes({"faults": [asdict(fault) for fault in error.faults]})
    except GatewayError as error:
        return json_bytes({"error": [error.code, error.message, error.hint]})
    return dump(loaded)


if __name__ == "__main__":
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
