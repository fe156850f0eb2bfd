"""Records are shipped in a process of its own, which may die at any moment."""

import asyncio
import errno
import gc
import os
import signal
import socket
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import GatewayError, LedgerUnavailable
from gateway.metering.carrier import Carried, Carrier, LedgerCarrier, LedgerRefusesAll, Load
from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment
from gateway.metering.shipper import Shipper
from gateway.process import shipping, shipping_child
from gateway.process.shipping import ProcessCourier
from gateway.process.shipping_child import serve
from gateway.process.shipping_wire import framed
from gateway.rules.record import Record
from gateway.telemetry.metrics import ShipperStats
from tests.metering.journals import FixedClock, ids, journal_in, keep, record, until
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
        self.steps = 0

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
            case "slow":
                self._take_steps()
        (segment,) = load.segments
        assert segment.is_complete
        return Carried(Position(segment.number, segment.end), load.limit, os.getpid())

    def _take_steps(self) -> None:
        for _ in range(30):
            time.sleep(0.02)
            self.steps += 1

    def close(self) -> None:
        """Nothing to do."""


def forked(channel: socket.socket) -> int:
    """Start another shipping process; nothing in these tests minds a fork beside threads."""
    process = os.fork()
    if process == 0:
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, 1024)
        serve(channel, Scripted)
        os._exit(0)
    return process


class Taker:
    """A ledger that takes everything."""

    def append(self, records: Sequence[Record]) -> int:
        return len(records)

    def epoch(self) -> str:
        return ""

    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        return set(event_ids)


class Filer(Taker):
    """A ledger that writes down the ids of what it takes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: Sequence[Record]) -> int:
        with self.path.open("a") as file:
            file.write("".join(f"{one.event_id}\n" for one in records))
        return len(records)


def forked_with(channel: socket.socket, ledger: Path) -> int:
    """See ``forked``."""
    process = os.fork()
    if process == 0:
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, 1024)
        serve(channel, lambda: LedgerCarrier(Filer(ledger), FixedClock()))  # type: ignore[arg-type]
        os._exit(0)
    return process


@pytest.fixture
async def courier() -> AsyncIterator[ProcessCourier]:
    made = shipping.start(Scripted, forked)
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
    courier = ProcessCourier(ours, 0, forked)
    told = {"error": {"kind": "ledger", "code": "c", "message": "x" * 10_000, "hint": ""}}
    asked = asyncio.ensure_future(courier.carry(load()))
    await asyncio.sleep(0)
    answer = framed(told)
    for part in (answer[:2], answer[2:700], answer[700:]):
        theirs.sendall(part)
        await asyncio.sleep(0)
    with pytest.raises(LedgerUnavailable, match=r"^x{10000}$"):
        await asked
    theirs.close()
    await courier.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("in_a_batch", [True, False])
async def test_a_process_that_dies_is_replaced(
    courier: ProcessCourier, *, in_a_batch: bool
) -> None:
    """X6: killed in the middle of a batch, or while it waits; the worker never ships itself."""
    shipper = await shipper_of(courier)
    if not in_a_batch:
        os.kill(shipper, signal.SIGKILL)
    with capture_logs() as lines, pytest.raises(LedgerUnavailable, match="lost: it died"):
        await courier.carry(load("deadly"))
    (lost,) = [line for line in lines if line["event"] == "shipper.process_lost"]
    assert (lost["process"], lost["status"], lost["is_hung"]) == (shipper, -9, False)
    other = await shipper_of(courier)
    assert other not in {shipper, os.getpid()}
    assert await shipper_of(courier) == other
    assert courier.replaced == 1
    with pytest.raises(ProcessLookupError):
        os.kill(shipper, 0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("in_a_batch", [True, False])
async def test_a_process_that_is_stopped_is_killed_and_replaced(
    courier: ProcessCourier, monkeypatch: pytest.MonkeyPatch, *, in_a_batch: bool
) -> None:
    """X6: SIGSTOP: it gives no sign any more, nor does it heed any but SIGKILL."""
    shipper = await shipper_of(courier)
    monkeypatch.setattr(shipping, "SILENCE_SECONDS", 0.1)
    if not in_a_batch:
        os.kill(shipper, signal.SIGSTOP)
    with pytest.raises(LedgerUnavailable, match="gave no sign for"):
        await courier.carry(load("hung"))  # its first beat would come after a second
    assert await shipper_of(courier) != shipper
    with pytest.raises(ProcessLookupError):
        os.kill(shipper, 0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_process_whose_ledger_hangs_is_replaced_though_it_gives_signs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shipping_child, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(shipping, "STEP_SECONDS", 0.2)
    courier = shipping.start(Scripted, forked)
    with pytest.raises(LedgerUnavailable, match="kept it waiting"):
        await courier.carry(load("hung"))
    assert await shipper_of(courier) != os.getpid()
    await courier.close()


async def test_a_batch_that_gets_on_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither silent nor stuck: longer than both bounds, and still not given up."""
    monkeypatch.setattr(shipping_child, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(shipping, "SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(shipping, "STEP_SECONDS", 0.4)
    courier = shipping.start(Scripted, forked)
    assert (await courier.carry(load("slow"))).count == 5
    assert courier.replaced == 0
    await courier.close()


async def test_if_none_can_be_started_it_is_tried_again(courier: ProcessCourier) -> None:
    shipper = await shipper_of(courier)
    os.kill(shipper, signal.SIGKILL)
    tries: list[int] = []

    def refused(channel: socket.socket) -> int:
        tries.append(channel.fileno())
        if len(tries) == 1:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return forked(channel)

    courier._spawn = refused
    for words in ("it died", "can be started"):
        with pytest.raises(LedgerUnavailable, match=words):
            await courier.carry(load())
    assert await shipper_of(courier) != os.getpid()
    assert len(tries) == 2


async def test_the_end_does_not_wait_for_a_process_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    courier = shipping.start(Scripted, forked)
    shipper = await shipper_of(courier)
    asked = asyncio.ensure_future(courier.carry(load("hung")))
    await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.wait([asked])
    monkeypatch.setattr(shipping, "END_SECONDS", 0.05)
    await asyncio.wait_for(courier.close(), 10)
    with pytest.raises(ProcessLookupError):
        os.kill(shipper, 0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_what_was_under_way_is_shipped_by_the_next(tmp_path: Path) -> None:
    """X6: nothing is lost and nothing doubled, however often it is killed."""
    courier = shipping.start(
        lambda: LedgerCarrier(Filer(tmp_path / "ledger"), FixedClock()),  # type: ignore[arg-type]
        lambda channel: forked_with(channel, tmp_path / "ledger"),
    )
    stats = ShipperStats()
    journal = journal_in(tmp_path / "journal", segment_bytes_max=2000)
    shipper = Shipper(
        journal, courier, clock=FixedClock(), stats=stats, interval_seconds=0.002, batch=3
    )
    shipper.start()
    for number in range(60):
        await keep(journal, [record(number)])
        if number % 20 == 10:
            process = courier._process
            os.kill(process, signal.SIGKILL)
            await until(lambda: courier._process not in {0, process})  # noqa: B023
    await until(lambda: not journal.unshipped_records)
    await shipper.measure()
    assert stats.processes_replaced == 3
    assert set((tmp_path / "ledger").read_text().split()) == set(
        ids([record(number) for number in range(60)])
    )
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
        made = shipping.start(Scripted, forked)
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
    courier = shipping.start(open_carrier, forked)
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
