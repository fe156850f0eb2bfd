"""The real data plane in this process, on a free port, before an upstream that the test plays.

Real: connections, exchanges, the story, pools, memory counters, a key file, a journal on the disk
and the corrections that it owes. Stepped: wall clock and event loop time, moved by ``advance``.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import uvloop
from structlog.testing import capture_logs

from gateway.config.settings import load
from gateway.config.snapshot import Snapshot
from gateway.counters.memory import MemoryCounterStore
from gateway.keys.format import KeyFormat
from gateway.keys.last_used import LastUsed
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.metering.corrections import Corrections
from gateway.metering.event_ids import EventIds
from gateway.metering.journal import Journal
from gateway.process.sweep import (
    _sweep_connections,
    _sweep_exchanges,
    _sweep_tunnels,
    date_line,
)
from gateway.proxy.active import activate
from gateway.proxy.connection import ClientConnection
from gateway.proxy.exchange import Exchange
from gateway.proxy.pool import UpstreamPool, Upstreams
from gateway.proxy.ports import Lines, Ports
from gateway.rules.record import Record
from gateway.telemetry.metrics import Stats, StoreStats
from tests.support.fake_clock import FakeClock
from tests.support.http_judge import Message, answers_in, requests_in
from tests.support.pricing_files import Document, write_pricing
from tests.support.wire import Listener, Wire

KEY = "egw_test_AAAAAAAAAAAAAAAAAAAAAA1xHO25"
OTHER_KEY = "egw_test_BBBBBBBBBBBBBBBBBBBBBB2Puk1Y"
"""The same in every process that runs tests: names of tests hold them."""
WORKSPACE = "acme"
TURNS = 4000
HEAD_BYTES = 4096
DATE = b"Date: Thu, 20 Nov 2025 12:00:00 GMT\r\n"

ROUTE_FILE = """\
version: 1
pricing: pricing.json
keys: file:keys.yaml
trusted_proxies: [192.0.2.0/24]
limits: {{head: {head}, header_count: 32, target: 1024, pipelined: 4, json_body: 64KB,
         body_idle: 10s, body_rate: 1}}
upstreams:
  app:
    endpoints: ["http://127.0.0.1:{port}"]
    timeouts: {{connect: 300ms, first_byte: 30s, idle: 60s, total: plan}}
    connections_max: 4
routes:
  - {{name: small, match: {{methods: [POST], path: /small}}, upstream: app, auth: none,
     max_body: 1KB}}
  - {{name: open, match: {{methods: [GET, POST, PUT, DELETE, OPTIONS], path: "/open/**"}},
     upstream: app, auth: none}}
  - {{name: json, match: {{methods: [POST], path: /json}}, upstream: app,
     cost: {{dc: {{reserve: {{json: /n, default: 3}}, settle: {{header: X-DC-Used}}}}}},
     run_id: {{json: /run}}}}
  - {{name: usage, match: {{methods: [POST], path: /usage}}, upstream: app,
     cost: {{dc: {{reserve: 5, settle: {{json: /used}}}}}}}}
  - {{name: named, match: {{methods: [GET], path: /named}}, upstream: app,
     auth: {{key: [bearer], forward_identity: true}}}}
  - {{name: replay, match: {{methods: [GET], path: /replay}}, upstream: app, requires: [replay]}}
  - {{name: keyed, match: {{methods: [GET, POST, PUT, DELETE], path: "/v1/**"}}, upstream: app}}
"""


class SteppedLoop(uvloop.Loop):
    """The production loop, whose time runs on and can be moved forward."""

    ahead_seconds = 0.0

    def time(self) -> float:
        """Return seconds since some instant."""
        now: float = super().time()
        return now + self.ahead_seconds


def snapshot_in(
    folder: Path, port: int, change: Callable[[str], str] = lambda text: text
) -> Snapshot:
    """Return the configuration of a data plane before an upstream on a port."""

    def always(document: Document) -> None:
        document["effective_from"] = "2020-01-01T00:00:00Z"

    write_pricing(folder / "pricing.json", always)
    keys = "\n".join(
        f"      - {{id: {name}, sha256: {sha256(secret.encode()).hexdigest()}}}"
        for name, secret in (("key-1", KEY), ("key-2", OTHER_KEY))
    )
    (folder / "keys.yaml").write_text(
        f"version: 1\nworkspaces:\n  - id: {WORKSPACE}\n    plan: STARTER\n    keys:\n{keys}\n"
    )
    file = folder / "gateway.yaml"
    file.write_text(change(ROUTE_FILE.format(port=port, head=HEAD_BYTES)))
    return load(file, environ={}, overrides={}).snapshot


class LeisurelyClock(FakeClock):
    """A clock of which each reading is a millisecond after the last: every record comes alone."""

    def monotonic_micro(self) -> int:
        """Return microseconds."""
        self.advance(0.001)
        return super().monotonic_micro()


class NoLog(Lines):
    """An access log that is off."""

    def write_request(self, record: Record, exchange: Exchange) -> None:
        """Drop it."""


async def never(_seconds: float) -> None:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()


class DataPlane:
    """A running data plane and both ends of its connections.

    Attributes:
        upstream: Where its requests arrive; ``listen`` was called.
        failures: What the loop's exception handler was told.
        log: What the data plane logged.
    """

    def __init__(self, ports: Ports, journal: Journal, corrections: Corrections) -> None:
        self.ports = ports
        self.journal = journal
        self.corrections = corrections
        self.failures: list[str] = []
        self.log: list[MutableMapping[str, Any]] = []
        self.clients: list[Wire] = []
        self.port = 0
        self.upstream: Listener
        self._loop = ports.loop
        self._records_seen = 0

    async def client(self, data: bytes = b"", *, receive_buffer_bytes: int = 0) -> Wire:
        """Return a new client connection that has sent something."""
        wire = await Wire.connect(self.port, receive_buffer_bytes=receive_buffer_bytes)
        self.clients.append(wire)
        if data:
            await wire.send(data)
        return wire

    async def asked(self, data: bytes, upstream: Wire | None = None) -> tuple[Wire, Wire, bytes]:
        """Send a request; return client, upstream and the head that arrived there."""
        client = await self.client(data)
        wire = upstream or await self.upstream.accept()
        return client, wire, await wire.head()

    async def advance(self, seconds: float) -> None:
        """Let time pass and do what the sweep does then."""
        assert isinstance(self._loop, SteppedLoop)
        self._loop.ahead_seconds += seconds
        assert isinstance(self.ports.clock, FakeClock)
        self.ports.clock.advance(seconds)
        _sweep_exchanges(self.ports, self._loop.time())
        _sweep_tunnels(self.ports, self._loop.time())
        _sweep_connections(self.ports, self._loop.time())
        self.ports.refusals.sweep(self.ports.clock.now_micro(), self.ports.counters.now_micro())
        await self.turns()

    async def turns(self, number: int = 5) -> None:
        """Let the loop turn a few times."""
        for _ in range(number):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop turn until a condition holds."""
        for _ in range(TURNS):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("it never came to be")

    # What is in the books

    async def records(self, number: int) -> list[Record]:
        """Return the records since the last call, which must be exactly so many."""
        found: list[Record] = []

        def enough() -> bool:
            found[:] = self.journal.reader.read_unshipped(10_000).records[self._records_seen :]
            return len(found) >= number and not self.ports.exchanges

        await self.until(enough)
        await self.turns()
        assert (
            len(self.journal.reader.read_unshipped(10_000).records) == self._records_seen + number
        )
        self._records_seen += number
        return found

    async def record(self) -> Record:
        """Return the one record since the last call."""
        (record,) = await self.records(1)
        return record

    async def counted(self) -> tuple[int, int]:
        """Return how many requests and DC are counted, all corrections applied."""
        assert await self.corrections.drain(5)
        counters = self.ports.counters
        assert isinstance(counters, MemoryCounterStore)
        values = {key: known.value_micro for key, known in counters._counters.items()}
        requests = sum(value for key, value in values.items() if key.startswith("rpm:"))
        dc = sum(value for key, value in values.items() if key.startswith("usage:"))
        return requests // 1_000_000, dc // 1_000_000

    # What must hold in the end

    @property
    def pool(self) -> UpstreamPool:
        """The pool of the one upstream."""
        (pool,) = self.ports.upstreams._pools.values()
        return pool

    @property
    def failed_stories(self) -> list[object]:
        """The bugs that the stories ran into."""
        return [line for line in self.log if line["event"] == "proxy.story_failed"]

    @property
    def idle_count(self) -> int:
        """How many upstream connections wait for a request."""
        return sum(len(idle) for idle in self.pool._idle)

    async def settled(self, *, idle: int | None = None) -> None:
        """Check that nothing is under way or leaked: stories, connections, waiters, pauses.

        Args:
            idle: How many upstream connections must be kept; None does not look.
        """
        await self.until(lambda: not self.ports.exchanges)
        await self.until(lambda: len(self.pool._open) == self.idle_count)
        assert not any(state.pending for state in self.pool._states)
        assert not self.pool._waiting
        assert self.pool._connecting == 0
        for kept in self.pool._idle:
            assert [connection.reading._reasons for connection in kept] == [set()] * len(kept)
        if idle is not None:
            assert self.idle_count == idle
        assert self.failures == []
        assert self.failed_stories == []

    async def deserted(self) -> None:
        """Check that no client connection is left."""
        await self.until(lambda: not self.ports.connections)

    async def stop(self, server: asyncio.Server) -> None:
        """Close everything."""
        for wire in self.clients:
            wire.close()
        self.upstream.close()
        server.close()
        for connection in tuple(self.ports.connections):
            assert isinstance(connection, ClientConnection)
            connection.transport.abort()
        self.ports.upstreams.close()
        await self.until(lambda: not self.ports.exchanges)
        await self.ports.keys.close()
        await self.corrections.close()
        self.ports.refusals.flush()
        await self.journal.close()
        await self.turns()

    def judged_requests(self) -> list[Message]:
        """Return every request that reached the upstream, read by h11."""
        return [request for wire in self.upstream.wires for request in requests_in(wire.received)]


def point_to(
    plane: DataPlane,
    folder: Path,
    *endpoints: str,
    preserve_host: bool = False,
    more: str = "connections_max: 4",
    connect: str = "300ms",
) -> None:
    """Reload a data plane with other endpoints; ``more`` is a further line of the upstream."""
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    old = f'endpoints: ["http://127.0.0.1:{port}"]'
    listed = ", ".join(f'"{endpoint}"' for endpoint in endpoints)
    new = f"endpoints: [{listed}]\n    preserve_host: {str(preserve_host).lower()}\n    {more}"
    other = folder / "other"
    other.mkdir()

    def changed(text: str) -> str:
        text = text.replace("connect: 300ms", f"connect: {connect}")
        return text.replace("\n    connections_max: 4", "").replace(old, new)

    plane.ports.swap(snapshot_in(other, port, changed))


def answer_half_closed(plane: DataPlane, folder: Path) -> None:
    """Reload a data plane so that clients may close their side and still be answered."""
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    other = folder / "half-close"
    other.mkdir()
    old, new = "limits: {head:", "limits: {half_close: answer, head:"
    plane.ports.swap(snapshot_in(other, port, lambda text: text.replace(old, new)))


def judged(wire: Wire, *methods: bytes) -> list[Message]:
    """Return every answer that a client got, read by h11; a cut one raises."""
    return answers_in(wire.received, methods or (b"GET",), ended=bool(wire.ended))


async def answered(wire: Wire, method: bytes = b"GET") -> Message:
    """Return the next whole answer that a client gets."""
    begun = wire._taken
    head = await wire.head()
    while head.split(b" ")[1][:1] == b"1":
        head = await wire.head()
    while True:
        (answer,) = answers_in(wire.received[begun:], [method], ended=bool(wire.ended))
        if answer.is_whole:
            wire._taken = len(wire.received)
            return answer
        assert not wire.ended, f"cut: {wire.received[begun:]!r}"
        await wire._receive()


def ports_of(folder: Path, snapshot: Snapshot, journal: Journal, stats: Stats) -> Ports:
    """Return what requests need, in this loop."""
    clock, upstreams = FakeClock(), Upstreams(stats.worker)
    counters = MemoryCounterStore(clock, stats=stats.store)
    return Ports(
        loop=asyncio.get_running_loop(),
        clock=clock,
        keys=YamlKeyDirectory(folder / "keys.yaml", stats=stats.directory, wait=never),
        key_format=KeyFormat(),
        counters=counters,
        local_counters=MemoryCounterStore(counters, stats=StoreStats()),
        upstreams=upstreams,
        journal=journal,
        key_use=LastUsed(),
        access_log=NoLog(),
        event_ids=EventIds(clock),
        overage_entered=lambda _workspace, _policy: None,
        stats=stats,
        active=activate(snapshot, upstreams, clock.now_micro()),
        date_line=date_line(clock),
    )


@asynccontextmanager
async def data_plane(folder: Path, snapshot: Snapshot, port: int) -> AsyncIterator[DataPlane]:
    """Run a data plane whose upstream is played on ``port``."""
    loop = asyncio.get_running_loop()
    stats = Stats()
    journal = Journal(
        folder / "journal",
        clock=LeisurelyClock(),
        stats=stats.journal,
        fsync_seconds=3600,
        segment_bytes_max=1 << 20,
        bytes_max=1 << 30,
    )
    ports = ports_of(folder, snapshot, journal, stats)
    corrections = Corrections(ports.counters, journal)
    journal.open()
    corrections.start(replay=False)
    await ports.keys.start()
    plane = DataPlane(ports, journal, corrections)
    plane.upstream = Listener(port)
    plane.upstream.listen()
    loop.set_exception_handler(lambda _loop, told: plane.failures.append(str(told)))
    server = await loop.create_server(lambda: ClientConnection(ports), "127.0.0.1", 0)
    plane.port = server.sockets[0].getsockname()[1]
    with capture_logs() as plane.log:
        try:
            yield plane
        finally:
            await plane.stop(server)
    assert plane.failures == []
    assert plane.failed_stories == []
