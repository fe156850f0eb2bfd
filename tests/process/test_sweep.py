"""One look at everything: who is late is told, who is idle is closed, nobody else is touched."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from gateway.metering.journal import Journal
from gateway.process.sweep import date_line, sweep
from gateway.proxy.connection import ClientConnection
from gateway.proxy.exchange import Exchange
from gateway.proxy.limited_tunnel import LimitedTunnel
from gateway.proxy.ports import Ports
from gateway.telemetry.metrics import JournalStats, Stats
from tests.metering.journals import record
from tests.support.data_plane import ports_of, snapshot_in
from tests.support.fake_clock import FakeClock

PAST, FUTURE = -1.0, 3600.0


class Transport(asyncio.Transport):
    """Remembers whether it was closed."""

    closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop it."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Buffer nothing."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Exchanged:
    """What the sweep needs of an exchange: two deadlines, and an upstream to blame."""

    answer_begun = client_gone = False
    body_sink = None

    def __init__(self, *, total: float = 0.0, deadline: float = 0.0) -> None:
        self.total_deadline = total
        self.deadline = deadline
        self.deadline_kind = ""
        self.upstream = self
        self.told: list[str] = []

    def fail(self, kind: str) -> None:
        self.told.append(kind)


@pytest.fixture
async def ports(tmp_path: Path) -> Ports:
    journal = Journal(
        tmp_path / "journal", clock=FakeClock(), stats=JournalStats(), fsync_seconds=3600,
        segment_bytes_max=1 << 20, bytes_max=1 << 30,
    )  # fmt: skip
    return ports_of(tmp_path, snapshot_in(tmp_path, 9), journal, Stats())


def connected(ports: Ports) -> tuple[ClientConnection, Transport]:
    transport = Transport({"peername": ("192.0.2.7", 40_000)})
    client = ClientConnection(ports)
    client.connection_made(transport)
    return client, transport


@asynccontextmanager
async def sweeping(ports: Ports) -> AsyncIterator[None]:
    """Run the first turn of the sweep."""
    task = asyncio.ensure_future(sweep(ports, ports.clock))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


def test_date_line_is_that_of_http() -> None:
    assert date_line(FakeClock()) == b"Date: Thu, 20 Nov 2025 12:00:00 GMT\r\n"


async def test_date_line_is_renewed(ports: Ports) -> None:
    clock = ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(61)

    async with sweeping(ports):
        assert ports.date_line == b"Date: Thu, 20 Nov 2025 12:01:01 GMT\r\n"


@pytest.mark.parametrize(
    ("total", "deadline", "told"),
    [
        (0.0, 0.0, []),  # no deadline at all
        (FUTURE, FUTURE, []),
        (0.0, PAST, ["timeout"]),
        (FUTURE, PAST, ["timeout"]),
        (PAST, FUTURE, ["execution"]),
        (PAST, PAST, ["execution"]),
    ],
)
async def test_who_is_late_is_told_once(
    total: float, deadline: float, told: list[str], ports: Ports
) -> None:
    now = ports.loop.time()
    late = Exchanged(total=total and now + total, deadline=deadline and now + deadline)
    ports.exchanges = cast("set[Exchange]", {late})

    async with sweeping(ports):
        assert late.told == told


async def test_refusals_of_a_second_that_is_over_are_written_down(ports: Ports) -> None:
    await asyncio.to_thread(cast("Journal", ports.journal).open)
    group = ports.refusals.group(1, by_store=False, owner=(), method="GET", quantities=())
    group.begin(record(1), "sum")

    async with sweeping(ports):
        assert group.is_over

    await cast("Journal", ports.journal).close()
    assert ports.stats.journal.refusals_unrecorded == 0


async def test_an_idle_connection_is_closed_and_a_new_one_is_not(ports: Ports) -> None:
    limits = ports.active.snapshot.limits
    idle, idle_transport = connected(ports)
    _, new_transport = connected(ports)
    idle.touched_at -= limits.keep_alive_seconds + 1

    async with sweeping(ports):
        assert idle_transport.closed
        assert not new_transport.closed


async def test_a_connection_that_lingered_is_closed(ports: Ports) -> None:
    lingering, transport = connected(ports)
    later, later_transport = connected(ports)
    lingering.closes_at = ports.loop.time() - 1
    later.closes_at = ports.loop.time() + 3600

    async with sweeping(ports):
        assert transport.closed
        assert not later_transport.closed


async def test_what_is_no_client_connection_is_left_alone(ports: Ports) -> None:
    ports.connections.add(asyncio.Protocol())

    async with sweeping(ports):
        assert len(ports.connections) == 1


class Tunnelled:
    """What the sweep needs of a tunnel."""

    def __init__(self, due_at: float) -> None:
        self.due_at = due_at
        self.told: list[float] = []

    def time_is_up(self, now: float) -> None:
        self.told.append(now)
        self.due_at = float("inf")


async def test_only_tunnels_that_are_due_are_looked_at(ports: Ports) -> None:
    now = ports.loop.time()
    due, early = Tunnelled(now + PAST), Tunnelled(now + FUTURE)
    ports.tunnels.open.update(cast("set[LimitedTunnel]", {due, early}))

    async with sweeping(ports):
        assert len(due.told) == 1
        assert not early.told
