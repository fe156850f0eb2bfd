"""Both ends of a tunnel through the data plane, frame by frame; the frames are a library's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from websockets.frames import Close, Frame, Opcode

from gateway.counters.memory import MemoryCounterStore
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from tests.support.data_plane import KEY, DataPlane, snapshot_in
from tests.support.wire import Wire

FAR_SECONDS = 4_000_000_000
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
) % KEY.encode()
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def text(payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """Return a text frame; masked as clients send them."""
    return Frame(Opcode.TEXT, payload, fin).serialize(mask=masked)


def rest(payload: bytes, *, fin: bool = True) -> bytes:
    """Return a further fragment."""
    return Frame(Opcode.CONT, payload, fin).serialize(mask=True)


def ping(payload: bytes = b"") -> bytes:
    """Return a ping."""
    return Frame(Opcode.PING, payload).serialize(mask=True)


def close(code: int = 1000, *, masked: bool = True) -> bytes:
    """Return a Close."""
    return Frame(Opcode.CLOSE, Close(code, "").serialize()).serialize(mask=masked)


def closing(data: bytes) -> tuple[int, str, bool]:
    """Return code, reason and whether it is masked of the Close frame that the data is."""
    assert data[0] == 0x88, data
    is_masked = bool(data[1] & 0x80)
    payload = data[2:]
    if is_masked:
        mask, payload = payload[:4], payload[4:]
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert len(payload) == data[1] & 0x7F
    found = Close.parse(payload)
    return found.code, found.reason, is_masked


def limited(
    plane: DataPlane,
    folder: Path,
    rules: str,
    *,
    more: str = "",
    change: Callable[[str], str] = lambda whole: whole,
) -> None:
    """Reload a data plane with a route ``/ws`` whose tunnels have rules."""
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    other = folder / "tunnels"
    other.mkdir(exist_ok=True)
    route = (
        f"  - {{name: ws, match: {{methods: [GET], path: /ws}}, upstream: app, {more}\n"
        f"     tunnel: {rules}}}\n"
    )
    plane.ports.swap(snapshot_in(other, port, lambda whole: change(whole) + route))


@dataclass
class Ends:
    """A client and an upstream with a tunnel between them."""

    plane: DataPlane
    client: Wire
    upstream: Wire

    async def up(self, data: bytes) -> None:
        """Let the client send something that arrives."""
        await self.client.send(data)
        assert await self.upstream.exactly(len(data)) == data

    async def down(self, data: bytes) -> None:
        """Let the upstream send something that arrives."""
        await self.upstream.send(data)
        assert await self.client.exactly(len(data)) == data

    async def leave(self) -> None:
        """Let the client go, and wait until the tunnel is over."""
        self.client.half_close()
        await self.upstream.rest()
        self.upstream.close()
        await self.client.rest()
        await self.over()

    async def over(self) -> None:
        """Wait until nothing is left of the tunnel."""
        plane = self.plane
        await plane.until(lambda: not plane.ports.tunnels.open)
        await plane.until(lambda: not plane.ports.stats.worker.tunnels_open)
        await plane.deserted()
        assert not plane.ports.tunnels._places.counts


async def opened(plane: DataPlane, request: bytes = REQUEST, answer: bytes = SWITCHING) -> Ends:
    """Return a new tunnel, and the handshake's record out of the way."""
    kept = plane.upstream.wires[-1] if plane.idle_count else None
    client, upstream, _ = await plane.asked(request, kept)
    await upstream.send(answer)
    assert (await client.head()).startswith(b"HTTP/1.1 101 ")
    await plane.until(lambda: plane.ports.stats.worker.tunnels_open)
    (handshake,) = await plane.records(1)
    assert (handshake.status, handshake.billable) == (101, False)
    return Ends(plane, client, upstream)


def meter(by: str, per_unit: int = 1, units: int = 1, more: str = "") -> str:
    return f"{{meter: {{meter: dc, by: {by}, per_unit: {per_unit}, slice: {units}}}{more}}}"


async def metered(
    plane: DataPlane, folder: Path, by: str, per_unit: int = 1, units: int = 1, more: str = ""
) -> Ends:
    limited(plane, folder, meter(by, per_unit, units, more))
    return await opened(plane)


def used(plane: DataPlane, dc: int) -> None:
    """Let the workspace have used so much of its quota; 3030 is all of it."""
    counters = plane.ports.counters
    assert isinstance(counters, MemoryCounterStore)
    (key,) = [key for key in counters._counters if key.startswith("usage:")]
    counters.restore(key, dc * MICRO, FAR_SECONDS)


def dc_of(records: Sequence[Record]) -> list[float]:
    """Return what each record charges."""
    for record in records:
        assert record.charged_micro == record.quantities_micro
        assert "slice" in record.flags
        assert (record.status, record.outcome, record.code) == (101, "completed", None)
    return [record.charged_micro["dc"] / MICRO for record in records]


async def counted_micro(plane: DataPlane) -> int:
    """Return the quota's counter, all corrections applied."""
    await plane.counted()
    counters = plane.ports.counters
    assert isinstance(counters, MemoryCounterStore)
    return sum(
        known.value_micro for key, known in counters._counters.items() if key.startswith("usage:")
    )


async def told(wire: Wire) -> tuple[int, str, bool]:
    """Return the Close frame that a side gets next."""
    start = await wire.exactly(2)
    return closing(start + await wire.exactly((start[1] & 0x7F) + (4 if start[1] & 0x80 else 0)))


async def closed(ends: Ends, code: int, why: str) -> None:
    """Both sides are told so, and go."""
    assert await told(ends.client) == (code, why, False)
    assert await told(ends.upstream) == (code, why, True)
    await ends.client.send(close(code))
    await ends.upstream.send(close(code, masked=False))
    await ends.client.rest()
    await ends.upstream.rest()
    await ends.over()
