"""The shipping process itself: carries batch after batch as asked.

The first one is forked from the worker; one that replaces it is a program of its own
(``shipping_program``), for a fork beside threads is not safe. It keeps nothing: killed at any
moment, it has either appended a batch or not.

Source: docs/decisions/0012-shipping-in-a-process-of-its-own.md, 0024.
"""

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from gateway.metering.carrier import Carrier
from gateway.process.shipping_wire import (
    BEAT,
    carried_told,
    error_told,
    framed,
    load_of,
    receive,
)
from gateway.telemetry.state_log import look_at_all

_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Meant for the worker, but sent to the whole group by terminals and supervisors."""
BEAT_SECONDS: Final = 1.0
"""A batch that takes longer says so, again and again: who is silent hangs."""
_BATCHES_PER_COLLECTION: Final = 64
"""What goes well leaves next to no circles behind."""


def ignore_signals() -> None:
    """Leave the end to the worker: its end of the socket closes, however that comes."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)


class _Beats:
    """Says that a batch is under way, and how many steps it has made."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._carrier: Carrier | None = None
        self._is_busy = False
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="beats", daemon=True).start()

    def begin(self, carrier: Carrier | None) -> None:
        """Learn that a batch is begun, None if the ledger is still to be opened."""
        with self._lock:
            self._carrier, self._is_busy = carrier, True

    def answer(self, message: dict[str, Any]) -> None:
        """Send the answer. Raises ``OSError``: the worker is gone."""
        with self._lock:
            self._is_busy = False
            self._channel.sendall(framed(message))

    def end(self) -> None:
        """Stop."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with self._lock:
                if not self._is_busy:
                    continue
                steps = -1 if self._carrier is None else self._carrier.steps
                try:
                    self._channel.sendall(framed({BEAT: steps}))
                except OSError:
                    return


def serve(channel: socket.socket, open_carrier: Callable[[], Carrier]) -> None:
    """Carry batch after batch as asked, until the other end closes. For a process of its own."""
    gc.disable()
    beats = _Beats(channel)
    carrier: Carrier | None = None
    batches = 0
    while (asked := receive(channel)) is not None:
        answer: dict[str, Any] = {}
        beats.begin(carrier)
        try:
            if carrier is None:
                carrier = open_carrier()
                gc.freeze()
                beats.begin(carrier)
            answer = carried_told(carrier.carry(load_of(asked)))
        except Exception as error:  # noqa: BLE001 - the worker logs it and asks again later
            answer["error"] = error_told(error)
        try:
            beats.answer(answer)
        except OSError:
            break
        batches += 1
        look_at_all()
        # An error's traceback holds on to the batch that it came from.
        if "error" in answer or answer["set_aside"] or batches % _BATCHES_PER_COLLECTION == 0:
            gc.collect()
    beats.end()


def spawn(channel: socket.socket, configuration: int) -> int:
    """Start the program of a replacement; return its process' id.

    Args:
        channel: Its end of the socket.
        configuration: Descriptor of the file that the worker read its configuration from.

    Raises:
        OSError: it can't be started.
    """
    handed = (channel.fileno(), configuration)
    os.lseek(configuration, 0, os.SEEK_SET)
    command = [sys.executable, "-m", "gateway.process.shipping_program", *map(str, handed)]
    try:
        for descriptor in handed:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - it has no name
        return os.posix_spawn(sys.executable, command, os.environ)
    finally:
        for descriptor in handed:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - it has no name
