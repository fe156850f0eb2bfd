"""``python -m gateway.process``: what ``gateway serve`` becomes once the configuration is read.

A process of its own program, so that a worker carries neither the command line's libraries nor
those that read configurations. The configuration comes through an inherited file descriptor.
"""

import os
import signal
import sys

from gateway import compiled

# structlog loads Rich for its development console if it finds it; a worker does without its 5 MB.
sys.modules["rich"] = None  # type: ignore[assignment]


def _stop_early() -> None:
    """Heed signals from the first moment on: the first process of a container has no defaults.

    The worker's own handlers follow. What ``become_worker`` held back meanwhile comes now.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the files are about to be read
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM; return the exit code.

    Args:
        arguments: Number of the descriptor of ``{"configuration", "overrides", "as_json"}``.
    """
    _stop_early()
    compiled.use()
    # After Rich is out of the way:
    from gateway.config.transfer import json_value, restore  # noqa: PLC0415
    from gateway.errors import GatewayError, start_code  # noqa: PLC0415
    from gateway.process import shipping  # noqa: PLC0415
    from gateway.process.shipping_child import spawn  # noqa: PLC0415
    from gateway.process.wiring import open_carrier  # noqa: PLC0415
    from gateway.telemetry import logs  # noqa: PLC0415
    from gateway.telemetry.failures import failure_text  # noqa: PLC0415

    configuration = int(arguments[0])
    os.set_inheritable(configuration, False)  # noqa: FBT003 - it has no name
    with os.fdopen(configuration, "rb", closefd=False) as handed:
        told = json_value(handed.read())
    loaded = restore(told["configuration"].encode())
    as_json = told.get("as_json", False)
    logs.configure(loaded.settings.log_level, console=sys.stderr.isatty() and not as_json)
    courier = shipping.start(
        lambda: open_carrier(loaded), lambda channel: spawn(channel, configuration)
    )
    from gateway.process import worker  # noqa: PLC0415 - the shipping process does without

    try:
        return worker.run(loaded, told["overrides"], courier)
    except GatewayError as error:
        told_text = failure_text(
            error, as_json=as_json, encoding=sys.stderr.encoding, width=sys.maxsize
        )
        sys.stderr.write(f"{told_text}\n")
        return start_code(error.code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
