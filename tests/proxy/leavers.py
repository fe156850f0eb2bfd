"""What tests of clients that leave have in common: requests, ways to leave, and slow adapters."""

import asyncio
from pathlib import Path

import pytest

from gateway.counters.port import CounterStore
from gateway.metering.recorder import Recorder, Waiter
from gateway.rules.charge import Charge, Counts
from gateway.rules.record import Record
from tests.support.data_plane import DATE, KEY, DataPlane, snapshot_in
from tests.support.wire import Wire

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
WAYS = pytest.mark.parametrize("way", ["half_close", "close", "reset"])


def asking(method: bytes = b"GET", path: bytes = b"/v1/a", more: bytes = b"") -> bytes:
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, path, AUTH, more)


def post(body: bytes = b"body", path: bytes = b"/v1/a", more: bytes = b"") -> bytes:
    return asking(b"POST", path, b"Content-Length: %d\r\n%b" % (len(body), more)) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def leave(client: Wire, way: str) -> None:
    getattr(client, way)()


def cancelling(plane: DataPlane, folder: Path) -> None:
    """Reload a data plane whose keyed routes cancel what a client leaves."""
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    other = folder / "cancel"
    other.mkdir()

    def changed(text: str) -> str:
        for name in ("keyed", "usage", "json"):
            text = text.replace(f"name: {name},", f"name: {name}, client_gone: cancel,")
        return text

    plane.ports.swap(snapshot_in(other, port, changed))


def books(record: Record) -> tuple[int, str, bool, str]:
    return (record.status, record.outcome, record.billable, record.reason)


FREE = (499, "client_gone", False, "client_gone")


class SlowStore(CounterStore):
    """A counter store that answers when it is let."""

    def __init__(self, real: CounterStore) -> None:
        self._real = real
        self.may_answer = asyncio.Event()
        self.asked = 0

    def now_micro(self) -> int:
        return self._real.now_micro()

    async def charge(self, charge: Charge) -> Counts:
        self.asked += 1
        await self.may_answer.wait()
        return await self._real.charge(charge)


class SlowJournal(Recorder):
    """A journal that waits for its disk."""

    is_available = True

    def __init__(self, real: Recorder) -> None:
        self._real = real
        self.waiting: list[tuple[Record, Waiter]] = []

    def append(self, record: Record, waiter: Waiter) -> None:
        self.waiting.append((record, waiter))

    def write(self) -> None:
        for record, waiter in self.waiting:
            self._real.append(record, waiter)
