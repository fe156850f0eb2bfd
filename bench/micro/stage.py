"""What the pieces act on: a configuration in force, a caller, both ends of a connection.

Everything is the gateway's own but for the sockets (``Silence`` takes what is written), the clock,
which stands still, and the journal, which here releases at once: its pieces are measured apart.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from bench.micro.configuration import FULL_PLAN, ROOMY_PLAN
from gateway.clock import Clock
from gateway.config.transfer import restore
from gateway.counters.memory import MemoryCounterStore
from gateway.keys.cache import CachingKeyDirectory
from gateway.keys.format import KeyFormat, NewSecret, generate
from gateway.keys.last_used import LastUsed
from gateway.keys.port import Change, FeedEnd, KeyEntry
from gateway.metering.event_ids import EventIds
from gateway.metering.recorder import Recorder, Waiter
from gateway.proxy.active import activate
from gateway.proxy.connection import ClientConnection
from gateway.proxy.exchange import Exchange
from gateway.proxy.pool import Upstreams
from gateway.proxy.ports import Lines, Ports
from gateway.proxy.upstream import UpstreamConnection
from gateway.rules.record import Record
from gateway.telemetry.metrics import DirectoryStats, Stats, StoreStats

NOW_MICRO = 1_795_132_800_000_000
"""2026-11-20T00:00:00Z."""

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 20 Nov 2026 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 83\r\nConnection: keep-alive\r\n\r\n"
    + b"x"
    * 83
)


def request(secret: str) -> bytes:
    """Return a request as common clients write it."""
    return (
        f"GET /v1/status?verbose=1 HTTP/1.1\r\nHost: api.example.com\r\n"
        f"User-Agent: python-requests/2.32\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n"
        f"Connection: keep-alive\r\nAuthorization: Bearer {secret}\r\n\r\n"
    ).encode()


class StandingClock(Clock):
    """It is always the same moment: no period ends while a piece is measured."""

    def now_micro(self) -> int:
        return NOW_MICRO

    def monotonic_micro(self) -> int:
        return NOW_MICRO


class Silence(asyncio.Transport):
    """A transport whose other end is nobody."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop it."""

    def writelines(self, list_of_data: object) -> None:
        """Drop them."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Buffer nothing."""

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        raise RuntimeError("a piece went another way than it should")

    def close(self) -> None:
        self.abort()

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


class ReleasingRecorder(Recorder):
    """A journal that keeps nothing and releases at once."""

    last: Record | None = None

    @property
    def is_available(self) -> bool:
        return True

    def append(self, record: Record, waiter: Waiter) -> None:
        self.last = record
        waiter.release(written=True)


class NoLines(Lines):
    """An access log that is off."""

    def chooses(self) -> bool:
        return False

    def write_request(self, record: Record, exchange: Exchange) -> None:
        """Drop it."""


class FixedKeys:
    """A key database that is asked once for each key."""

    def __init__(self, entries: Sequence[KeyEntry]) -> None:
        self._entries = {entry.key_hash: entry for entry in entries}

    def load(self, key_hash: bytes) -> KeyEntry | None:
        return self._entries.get(key_hash)

    def changes_after(self, sequence: int) -> Sequence[Change]:
        del sequence
        return ()

    def feed_end(self) -> FeedEnd:
        return FeedEnd(0)


def _entry(secret: NewSecret, workspace_id: str, plan: str) -> KeyEntry:
    return KeyEntry(secret.key_id, secret.key_hash, secret.prefix, workspace_id, plan)


class Stage:
    """Made within a running loop; used when it has stopped."""

    def __init__(self, configuration: Path, folder: Path) -> None:
        self.folder = folder
        self.loop = asyncio.get_running_loop()
        self.snapshot = restore(configuration.read_bytes()).snapshot
        self.roomy, self.full, self.unknown = generate(), generate(), generate()
        self.recorder = ReleasingRecorder()
        self.ports = self._ports()
        self.plan = self.ports.active.plans["status"]

    def _ports(self) -> Ports:
        stats, clock = Stats(), StandingClock()
        upstreams = Upstreams(stats.worker)
        entries = [_entry(self.roomy, "acme", ROOMY_PLAN), _entry(self.full, "full", FULL_PLAN)]
        return Ports(
            loop=self.loop,
            clock=clock,
            keys=CachingKeyDirectory(FixedKeys(entries), clock=clock, stats=DirectoryStats()),
            key_format=KeyFormat(),
            counters=MemoryCounterStore(clock, stats=stats.store),
            local_counters=MemoryCounterStore(clock, stats=StoreStats()),
            upstreams=upstreams,
            journal=self.recorder,
            key_use=LastUsed(),
            access_log=NoLines(),
            event_ids=EventIds(clock),
            overage_entered=lambda _workspace, _policy: None,
            stats=stats,
            active=activate(self.snapshot, upstreams, NOW_MICRO),
            date_line=b"Date: Fri, 20 Nov 2026 00:00:00 GMT\r\n",
        )

    async def fill_key_cache(self) -> None:
        """Look each key up once, the unknown one too, as the first request with it does."""
        for secret in (self.roomy, self.full, self.unknown):
            await self.ports.keys.find(secret.key_hash)

    def client(self) -> ClientConnection:
        """Return a new client connection."""
        client = ClientConnection(self.ports)
        client.connection_made(Silence({"peername": ("192.0.2.7", 40_000)}))
        return client

    def add_idle_upstream(self) -> UpstreamConnection:
        """Return a connection that the pool hands out for the next request."""
        pool = self.plan.pool
        state = pool._states[0]  # noqa: SLF001 - the pool opens connections itself, with sockets
        upstream = UpstreamConnection(self.loop, state, lambda _closed: None)
        upstream.connection_made(Silence())
        pool._idle[state.index].append(upstream)  # noqa: SLF001
        return upstream
