"""The shipping process: answers, gives signs while it works, ends with the worker."""

import os
import socket
import threading
import time
from pathlib import Path

import orjson
import pytest

from gateway.metering.carrier import Carried, Load
from gateway.metering.journal_format import Position
from gateway.process import shipping_child
from gateway.process.shipping_wire import framed, load_told, receive
from tests.support.gateway_process import wait_until

LOAD = Load(Path("journal"), [], Position(1, 2), limit=3)


class Slow:
    """A carrier that takes steps."""

    def __init__(self, steps: int) -> None:
        self.steps = 0
        self._steps = steps

    def carry(self, load: Load) -> Carried:
        for _ in range(self._steps):
            self.steps += 1
            time.sleep(0.03)
        return Carried(load.position, self._steps, 0)

    def close(self) -> None:
        """Nothing to do."""


def answers(steps: int) -> list[dict[str, object]]:
    """Return all that is said until the answer to one question."""
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=shipping_child.serve, args=(theirs, lambda: Slow(steps)))
    serving.start()
    ours.sendall(framed(load_told(LOAD)))
    told = []
    while not told or "beat" in told[-1]:
        message = receive(ours)
        assert message is not None
        told.append(message)
    ours.close()
    serving.join(10)
    assert not serving.is_alive()
    theirs.close()
    return told


def test_a_quick_batch_is_answered_without_a_sign() -> None:
    (answer,) = answers(1)
    assert (answer["position"], answer["count"]) == ([1, 2], 1)


def test_a_slow_batch_gives_signs_and_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping_child, "BEAT_SECONDS", 0.01)
    *beats, answer = answers(10)
    steps = [beat["beat"] for beat in beats]
    assert len(set(steps)) > 3
    assert steps == sorted(steps, key=lambda step: int(str(step)))
    assert answer["count"] == 10


def test_a_program_that_can_not_read_its_configuration_ends(tmp_path: Path) -> None:
    """The worker sees its end of the socket close, and starts another one later."""
    ours, theirs = socket.socketpair()
    with (tmp_path / "configuration").open("w+b") as handed:
        handed.write(orjson.dumps({"configuration": "{}"}))
        handed.flush()
        process = shipping_child.spawn(theirs, handed.fileno())
        assert not os.get_inheritable(handed.fileno())
    assert not os.get_inheritable(theirs.fileno())
    theirs.close()
    assert receive(ours) is None
    assert wait_until(lambda: os.waitpid(process, os.WNOHANG)[0]) == process
    ours.close()
