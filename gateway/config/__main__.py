"""``python -m gateway.config``: read a configuration for another process.

Takes ``{"path", "overrides", "version", "now_micro"}`` on stdin; answers on stdout with the
configuration, or with what is wrong with it.
"""

import errno
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Final

from gateway.config.settings import load
from gateway.config.transfer import dump, json_bytes, json_value
from gateway.errors import ConfigError, GatewayError

_HINT: Final = "memory and process limits are the usual cause; otherwise report this: it is a bug"


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
            now_micro=asked["now_micro"],
        )
    except ConfigError as error:
        return json_bytes({"faults": [asdict(fault) for fault in error.faults]})
    except GatewayError as error:
        return json_bytes({"error": [error.code, error.message, error.hint]})
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator learns more than a code
        return json_bytes({"error": ["config.child_failed", _told(error), _HINT]})
    return dump(loaded)


def _told(error: Exception) -> str:
    """Return what happened and where; of texts only the system's own, others may hold secrets."""
    what = type(error).__name__
    if isinstance(error, OSError):
        named = errno.errorcode.get(error.errno or 0, what)
        what = f"{error.strerror or what} ({named}, errno {error.errno})"
        if error.filename is not None:
            what = f"{what}: {error.filename}"
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = "" if last is None else f", at {Path(last.filename).name} line {last.lineno}"
    return f"the configuration could not be read: {what}{where}"


if __name__ == "__main__":
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
