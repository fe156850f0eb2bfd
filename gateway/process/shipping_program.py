"""``python -m gateway.process.shipping_program``: a shipping process that replaces a lost one.

Imports next to nothing at its head: what is compiled must be chosen before any of it is imported.
Otherwise classes of both forms would meet, and compiled code refuses those that are interpreted.
Source: docs/decisions/0024-a-lost-shipping-process.md.
"""

import os
import socket
import sys

from gateway import compiled


def main(arguments: list[str]) -> int:
    """Serve; return the exit code.

    Args:
        arguments: Numbers of the descriptors of the socket and of the configuration.
    """
    compiled.use()
    # After Rich is out of the way:
    from gateway.config.transfer import json_value, restore  # noqa: PLC0415
    from gateway.process.shipping_child import ignore_signals, serve  # noqa: PLC0415
    from gateway.process.wiring import open_carrier  # noqa: PLC0415
    from gateway.telemetry import logs  # noqa: PLC0415

    ignore_signals()
    channel = socket.socket(fileno=int(arguments[0]))
    with os.fdopen(int(arguments[1]), "rb") as handed:
        told = json_value(handed.read())
    loaded = restore(told["configuration"].encode())
    as_json = told.get("as_json", False)
    logs.configure(loaded.settings.log_level, console=sys.stderr.isatty() and not as_json)
    serve(channel, lambda: open_carrier(loaded))
    return 0


if __name__ == "__main__":
    # structlog loads Rich for its development console if it finds it.
    sys.modules["rich"] = None  # type: ignore[assignment]
    sys.exit(main(sys.argv[1:]))
