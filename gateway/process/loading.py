"""The configuration is read by a child process: what reading needs, serving need not carry.

pydantic, YAML and JSON Schema take 17 MB and, at a reload, the interpreter from the event loop.
Source: docs/decisions/0009-configuration-in-a-child.md.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson

from gateway.config.loaded import Loaded
from gateway.config.transfer import Untransferable, restore
from gateway.errors import ConfigError, Fault, GatewayError

CHILD_SECONDS = 120
"""Far longer than 5,000 routes and 100 plans take."""


def load_in_child(path: Path, overrides: Mapping[str, str], version: int = 1) -> Loaded:
    """Return the configuration of a route file. Blocking.

    Args:
        path: The route file.
        overrides: Settings of the command line; they go through a pipe, since URLs hold passwords.
        version: Counts the configurations of a process.

    Raises:
        ConfigError: with every fault found.
        GatewayError: a file can't be read, or the child failed.
    """
    asked = {"path": str(path), "overrides": dict(overrides), "version": version}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "gateway.config"],
            input=orjson.dumps(asked),
            stdout=subprocess.PIPE,
            timeout=CHILD_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise GatewayError(
            "config.child_failed",
            f"the configuration could not be read by a child process: {type(error).__name__}",
            "see what it wrote to stderr; memory and process limits are the usual cause",
        ) from error
    return _answered(child.stdout)


def _answered(text: bytes) -> Loaded:
    told = orjson.loads(text)
    if "faults" in told:
        raise ConfigError([Fault(**fault) for fault in told["faults"]])
    if "error" in told:
        raise GatewayError(*told["error"])
    try:
        return restore(text)
    except Untransferable as error:
        raise GatewayError("config.child_failed", str(error), "report this: it is a bug") from error
