"""``python -m upstream_stubs --port 9100``: serve the sample upstream until SIGTERM or SIGINT."""

import argparse
import socket
import sys
from collections.abc import Sequence

import uvloop
from aiohttp import web

from upstream_stubs.app import create_app


def main(arguments: Sequence[str] | None = None) -> int:
    """Bind first, so that the printed address is one that already accepts connections."""
    parser = argparse.ArgumentParser(prog="upstream_stubs", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9100, help="0 picks a free port and prints it")
    options = parser.parse_args(arguments)
    try:
        listener = socket.create_server((options.host, options.port), backlog=1024)
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"upstream_stubs: {options.host}:{options.port}: {error}\n")
        return 3
    port = listener.getsockname()[1]
    sys.stdout.write(f"http://{options.host}:{port}\n")
    sys.stdout.flush()
    web.run_app(
        create_app(),
        sock=listener,
        loop=uvloop.new_event_loop(),
        print=None,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=1.0,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
