"""Records are shipped in a process of its own, which may die at any moment."""

import errno
import gc
import os
import signal
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.errors import LedgerUnavailable
from gateway.metering.carrier import Carried, Carrier, LedgerRefusesAll, Load
from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment
from gateway.process import shipping
from gateway.process.shipping import ProcessCarrier
from tests.support.gateway_process import wait_until

WORKER = os.getpid()


class Circle:
    """What only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


class Scripted:
    """A carrier that tells who it is, and does what the folder's name says."""

    oldest_micro = 7

    def __init__(self) -> None:
        self.left: list[weakref.ref[Circle]] = []

    def carry(self, load: Load) -> Carried:
        match load.folder.name:
            case "circles":
                self.left.append(weakref.ref(Circle()))
                alive = sum(one() is not None for one in self.left)
                return Carried(load.position, alive, set_aside=gc.isenabled())
            case "away":
                raise LedgerUnavailable("ledger.unavailable", "away", "wait")
            case "refuses":
                raise LedgerRefusesAll("ledger.refuses_all", "none", "look")
            case "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            case "broken":
                raise RuntimeError("a bug")
            case "deadly" if os.getpid() != WORKER:
                os.kill(os.getpid(), signal.SIGKILL)
        (segment,) = load.segments
        assert segment.is_complete
        return Carried(Position(segment.number, segment.end), load.limit, os.getpid())

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def carrier() -> Iterator[ProcessCarrier]:
    made = shipping.start(Scripted)
    yield made
    made.close()


def load(name: str = "journal") -> Load:
    segment = Segment(3, Path(name, "3.journal"), written=90, end=90, is_sealed=True)
    return Load(Path(name), [segment], Position(3, 40), limit=5)


def shipper_of(carrier: ProcessCarrier) -> int:
    """Return the shipping process' id; ``Scripted`` tells it."""
    return carrier.carry(load()).set_aside


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_batch_is_carried_elsewhere(carrier: ProcessCarrier) -> None:
    """X6: what ships is not the process that serves."""
    carried = carrier.carry(load())
    assert (carried.position, carried.count) == (Position(3, 90), 5)
    assert carried.set_aside != os.getpid()
    assert carrier.oldest_micro == 7
    assert shipper_of(carrier) == carried.set_aside


@pytest.mark.parametrize(
    ("folder", "kind", "words"),
    [
        ("away", LedgerUnavailable, "away"),
        ("refuses", LedgerRefusesAll, "none"),
        ("full", OSError, "No space left"),
        ("broken", LedgerUnavailable, "RuntimeError: a bug"),
    ],
)
def test_what_goes_wrong_there_is_said_here(
    carrier: ProcessCarrier, folder: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        carrier.carry(load(folder))
    assert type(caught.value) is kind
    assert carrier.oldest_micro == 7
    assert carrier.carry(load()).count == 5


@pytest.mark.parametrize("in_a_batch", [True, False])
def test_if_the_process_dies_the_worker_ships_itself(
    carrier: ProcessCarrier, *, in_a_batch: bool
) -> None:
    """X6: killed in the middle of a batch, or while it waits."""
    shipper = shipper_of(carrier)
    if not in_a_batch:
        os.kill(shipper, signal.SIGKILL)
    assert carrier.carry(load("deadly")).set_aside == os.getpid()
    assert shipper_of(carrier) == os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(shipper, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_for_the_worker_do_not_end_it(carrier: ProcessCarrier, number: int) -> None:
    shipper = shipper_of(carrier)
    os.kill(shipper, number)
    assert shipper_of(carrier) == shipper


def test_it_ends_when_the_worker_is_killed() -> None:
    """Nobody is left behind who writes to a ledger."""
    reading, writing = socket.socketpair()
    worker = os.fork()
    if worker == 0:
        made = shipping.start(Scripted)
        writing.send(b"%d" % shipper_of(made))
        signal.pause()
        os._exit(1)
    shipper = int(reading.recv(100))
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    wait_until(lambda: is_gone(shipper), 10)
    reading.close()
    writing.close()


def test_the_ledger_is_opened_when_it_is_needed_and_again_if_that_failed(tmp_path: Path) -> None:
    tries = tmp_path / "tries"

    def opened() -> Carrier:
        with tries.open("a") as file:
            file.write("x")
        if len(tries.read_text()) == 1:
            raise LedgerUnavailable("ledger.unavailable", "not yet", "")
        return Scripted()

    open_carrier: Callable[[], Carrier] = opened
    carrier = shipping.start(open_carrier)
    assert not tries.exists()
    with pytest.raises(LedgerUnavailable, match="not yet"):
        carrier.carry(load())
    assert [carrier.carry(load()).count for _ in range(2)] == [5, 5]
    assert tries.read_text() == "xx"
    carrier.close()


def test_garbage_is_collected_between_batches_and_never_in_one(carrier: ProcessCarrier) -> None:
    """A batch is thousands of small objects, which a collection would look through in vain."""
    left = [carrier.carry(load("circles")) for _ in range(200)]
    assert not any(one.set_aside for one in left)
    assert max(one.count for one in left) < 100
    assert gc.isenabled()


@pytest.mark.parametrize("name", ["away", "journal"])
def test_what_a_failed_batch_leaves_behind_is_freed_at_once(
    carrier: ProcessCarrier, name: str
) -> None:
    """A traceback holds the whole batch; ``Scripted`` sets records aside in "journal"."""
    assert carrier.carry(load("circles")).count == 1
    with suppress(LedgerUnavailable):
        carrier.carry(load(name))
    assert carrier.carry(load("circles")).count == 1
