"""Records are shipped in a process of its own, which may die at any moment."""

import asyncio
import errno
import gc
import os
import signal
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.errors import GatewayError, LedgerUnavailable
from gateway.metering.carrier import Carried, Carrier, LedgerCarrier, LedgerRefusesAll, Load
from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment
from gateway.metering.shipper import Shipper
from gateway.process import shipping
from gateway.process.shipping import ProcessCourier
from gateway.rules.record import Record
from gateway.telemetry.metrics import ShipperStats
from tests.metering.journals import FixedClock, journal_in, keep, record, until
from tests.support.gateway_process import wait_until

WORKER = os.getpid()


class Circle:
    """What only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


class Scripted:
    """A carrier that tells who it is, and does what the folder's name says."""

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
            case "unopened":
                raise GatewayError("database.unavailable", "no database", "start it")
            case "refuses":
                raise LedgerRefusesAll("ledger.refuses_all", "none", "look")
            case "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            case "broken":
                raise RuntimeError("a bug")
            case "hung" if os.getpid() != WORKER:
                signal.pause()
            case "deadly" if os.getpid() != WORKER:
                os.kill(os.getpid(), signal.SIGKILL)
        (segment,) = load.segments
        assert segment.is_complete
        return Carried(Position(segment.number, segment.end), load.limit, os.getpid())

    def close(self) -> None:
        closed_in.append(os.getpid())


closed_in: list[int] = []
"""Processes in which a carrier was closed, as far as this one sees."""


class Taker:
    """A ledger that takes everything."""

    def append(self, records: Sequence[Record]) -> int:
        return len(records)


@pytest.fixture
async def courier() -> AsyncIterator[ProcessCourier]:
    made = shipping.start(Scripted)
    yield made
    await made.close()


def load(name: str = "journal") -> Load:
    segment = Segment(3, Path(name, "3.journal"), written=90, end=90, is_sealed=True)
    return Load(Path(name), [segment], Position(3, 40), limit=5)


async def shipper_of(courier: ProcessCourier) -> int:
    """Return the shipping process' id; ``Scripted`` tells it."""
    return (await courier.carry(load())).set_aside


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_batch_is_carried_elsewhere(courier: ProcessCourier) -> None:
    """X6: what ships is not the process that serves."""
    carried = await courier.carry(load())
    assert (carried.position, carried.count) == (Position(3, 90), 5)
    assert carried.set_aside != os.getpid()
    assert await shipper_of(courier) == carried.set_aside


@pytest.mark.parametrize(
    ("folder", "kind", "words"),
    [
        ("away", LedgerUnavailable, "away"),
        ("unopened", LedgerUnavailable, "^no database$"),
        ("refuses", LedgerRefusesAll, "none"),
        ("full", OSError, "No space left"),
        ("broken", LedgerUnavailable, "RuntimeError: a bug"),
    ],
)
async def test_what_goes_wrong_there_is_said_here(
    courier: ProcessCourier, folder: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        await courier.carry(load(folder))
    assert type(caught.value) is kind
    assert (await courier.carry(load())).count == 5


async def test_an_answer_may_come_in_pieces() -> None:
    """A socket is a stream; an error's words may be longer than what is read at once."""
    ours, theirs = socket.socketpair()
    courier = ProcessCourier(ours, 0, Scripted)
    told = {"error": {"kind": "ledger", "code": "c", "message": "x" * 10_000, "hint": ""}}
    asked = asyncio.ensure_future(courier.carry(load()))
    await asyncio.sleep(0)
    answer = shipping.framed(told)
    for part in (answer[:2], answer[2:700], answer[700:]):
        theirs.sendall(part)
        await asyncio.sleep(0)
    with pytest.raises(LedgerUnavailable, match=r"^x{10000}$"):
        await asked
    theirs.close()
    await courier.close()


@pytest.mark.parametrize("in_a_batch", [True, False])
async def test_if_the_process_dies_the_worker_ships_itself(
    courier: ProcessCourier, *, in_a_batch: bool
) -> None:
    """X6: killed in the middle of a batch, or while it waits."""
    shipper = await shipper_of(courier)
    if not in_a_batch:
        os.kill(shipper, signal.SIGKILL)
    assert (await courier.carry(load("deadly"))).set_aside == os.getpid()
    assert await shipper_of(courier) == os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(shipper, 0)
    closed_in.clear()
    await courier.close()
    assert closed_in == [os.getpid()]


async def test_a_process_that_hangs_is_killed_and_the_worker_ships_itself(
    courier: ProcessCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6: whatever it waits for says nothing, not even that it fails."""
    shipper = await shipper_of(courier)
    monkeypatch.setattr(shipping, "ANSWER_SECONDS", 0.05)
    with pytest.raises(LedgerUnavailable, match="did not answer"):
        await courier.carry(load("hung"))
    assert (await courier.carry(load("hung"))).set_aside == os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(shipper, 0)


async def test_the_end_does_not_wait_for_a_process_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    courier = shipping.start(Scripted)
    shipper = await shipper_of(courier)
    asked = asyncio.ensure_future(courier.carry(load("hung")))
    await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.wait([asked])
    monkeypatch.setattr(shipping, "END_SECONDS", 0.05)
    await asyncio.wait_for(courier.close(), 10)
    with pytest.raises(ProcessLookupError):
        os.kill(shipper, 0)


@pytest.mark.parametrize(
    "error",
    [GatewayError("database.unavailable", "away", "start it"), RuntimeError("a bug")],
    ids=["away", "a bug"],
)
async def test_if_the_process_dies_while_the_ledger_is_away_the_worker_ships_later(
    tmp_path: Path, error: Exception
) -> None:
    """X6: the worker opens the ledger anew until that succeeds."""
    is_away = True

    def opened() -> Carrier:
        if is_away:
            raise error
        return LedgerCarrier(Taker(), FixedClock())  # type: ignore[arg-type]

    courier = shipping.start(opened)
    stats = ShipperStats()
    journal = journal_in(tmp_path)
    await keep(journal, [record(1)])
    shipper = Shipper(
        journal, courier, clock=FixedClock(), stats=stats, interval_seconds=0.002, batch=10
    )
    shipper.start()
    await until(lambda: stats.errors)
    process = courier._process
    os.kill(process, signal.SIGKILL)
    await until(lambda: not courier._process)
    failed = stats.errors
    await until(lambda: stats.errors > failed + 1)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert journal.unshipped_records == 1
    is_away = False
    await until(lambda: shipper.is_ledger_available)
    assert journal.unshipped_records == 0
    await shipper.close()
    await journal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_for_the_worker_do_not_end_it(courier: ProcessCourier, number: int) -> None:
    shipper = await shipper_of(courier)
    os.kill(shipper, number)
    assert await shipper_of(courier) == shipper


def test_it_ends_when_the_worker_is_killed() -> None:
    """Nobody is left behind who writes to a ledger."""
    reading, writing = socket.socketpair()
    worker = os.fork()
    if worker == 0:
        made = shipping.start(Scripted)
        writing.send(b"%d" % asyncio.run(shipper_of(made)))
        signal.pause()
        os._exit(1)
    shipper = int(reading.recv(100))
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    wait_until(lambda: is_gone(shipper), 10)
    reading.close()
    writing.close()


async def test_the_ledger_is_opened_when_it_is_needed_and_again_if_that_failed(
    tmp_path: Path,
) -> None:
    tries = tmp_path / "tries"

    def opened() -> Carrier:
        with tries.open("a") as file:
            file.write("x")
        if len(tries.read_text()) == 1:
            raise LedgerUnavailable("ledger.unavailable", "not yet", "")
        return Scripted()

    open_carrier: Callable[[], Carrier] = opened
    courier = shipping.start(open_carrier)
    assert not tries.exists()
    with pytest.raises(LedgerUnavailable, match="not yet"):
        await courier.carry(load())
    assert [(await courier.carry(load())).count for _ in range(2)] == [5, 5]
    assert tries.read_text() == "xx"
    await courier.close()


async def test_garbage_is_collected_between_batches_and_never_in_one(
    courier: ProcessCourier,
) -> None:
    """A batch is thousands of small objects, which a collection would look through in vain."""
    is_on_here = gc.isenabled()
    left = [await courier.carry(load("circles")) for _ in range(200)]
    assert not any(one.set_aside for one in left)
    assert max(one.count for one in left) < 100
    assert gc.isenabled() is is_on_here


@pytest.mark.parametrize("name", ["away", "journal"])
async def test_what_a_failed_batch_leaves_behind_is_freed_at_once(
    courier: ProcessCourier, name: str
) -> None:
    """A traceback holds the whole batch; ``Scripted`` sets records aside in "journal"."""
    assert (await courier.carry(load("circles"))).count == 1
    with suppress(LedgerUnavailable):
        await courier.carry(load(name))
    assert (await courier.carry(load("circles"))).count == 1
