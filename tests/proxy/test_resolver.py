"""C12: names are looked up once and refreshed; a failover by DNS takes effect by itself."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.proxy.resolver import Names, is_literal, system_lookup
from gateway.telemetry.metrics import WorkerStats
from tests.support.data_plane import DATE, KEY, DataPlane, answered, point_to
from tests.support.gateway_process import free_port
from tests.support.wire import Listener, Wire

GET = b"GET /v1/a HTTP/1.1\r\nHost: api.example\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
HOST = "app.test"


class Zone:
    """A resolver that says what a test wants; nothing is a failure."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def lookup(self, host: str) -> list[str]:
        assert host == HOST
        self.asked += 1
        await self.may_answer.wait()
        if not self.addresses:
            raise OSError("no answer")
        return list(self.addresses)


def names(
    zone: Zone, changed: Callable[[str, frozenset[str]], None] = lambda *_: None, turn: int = 0
) -> Names:
    return Names("app", [HOST], WorkerStats(), changed, turn, zone.lookup)


class Rounds:
    """Waits between two refreshes: a test says when the next one comes."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self._next = asyncio.Semaphore(0)
        self._ended = asyncio.Semaphore(0)

    async def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self._ended.release()
        await self._next.acquire()

    async def first(self) -> None:
        await asyncio.wait_for(self._ended.acquire(), 10)

    async def another(self) -> None:
        self._next.release()
        await self.first()


@pytest.mark.parametrize(
    ("host", "literal"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("localhost", False),
        ("a.example", False),
        ("1.2.3.400", False),
    ],
)
def test_literal_addresses_are_no_names(host: str, *, literal: bool) -> None:
    assert is_literal(host) is literal


async def test_the_system_knows_itself() -> None:
    assert set(await system_lookup("localhost")) <= {"127.0.0.1", "::1"}
    with pytest.raises(socket.gaierror):
        await system_lookup("nothing.invalid")


async def test_a_name_that_can_be_no_name_has_no_address() -> None:
    long = Names("app", ["x" * 70], WorkerStats(), lambda *_: None, 0, system_lookup)
    with pytest.raises(OSError, match="no address"):
        await long.addresses("x" * 70)


async def test_many_connects_ask_a_slow_resolver_once() -> None:
    zone = Zone("10.0.0.1")
    zone.may_answer.clear()
    known = names(zone)
    asking = [asyncio.ensure_future(known.addresses(HOST)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    zone.may_answer.set()
    assert await asyncio.gather(*asking[1:]) == [["10.0.0.1"]] * 4
    assert zone.asked == 1
    assert await known.addresses(HOST) == ["10.0.0.1"]
    assert zone.asked == 1


async def test_addresses_are_used_in_turn_failed_ones_last_until_the_next_look_up() -> None:
    known, rounds = names(Zone("a", "b", "c"), turn=1), Rounds()
    fresh = asyncio.ensure_future(known.keep_fresh(10, rounds.wait))
    await rounds.first()
    assert [(await known.addresses(HOST))[0] for _ in range(4)] == ["b", "c", "a", "b"]
    known.failed(HOST, "c")
    assert await known.addresses(HOST) == ["a", "b", "c"]
    assert await known.addresses(HOST) == ["a", "b", "c"]
    assert await known.addresses(HOST) == ["b", "a", "c"]
    await rounds.another()
    assert await known.addresses(HOST) == ["c", "a", "b"]
    fresh.cancel()
    await asyncio.wait({fresh})


async def test_the_last_good_answer_is_kept_and_the_log_says_so_once() -> None:
    told: list[tuple[str, frozenset[str]]] = []
    zone, rounds = Zone("a", "b"), Rounds()
    known = names(zone, lambda host, now: told.append((host, now)))
    with capture_logs() as lines:
        fresh = asyncio.ensure_future(known.keep_fresh(10, rounds.wait))
        await rounds.first()
        for addresses in ([], [], ["b", "a"], ["b"]):
            zone.addresses = addresses
            await rounds.another()
            assert set(await known.addresses(HOST)) == set(addresses or ["a", "b"])
        fresh.cancel()
        await asyncio.wait({fresh})
    assert told == [(HOST, frozenset({"b"}))]
    assert [line["event"] for line in lines] == [
        "upstream.name_unresolved",
        "upstream.name_resolved",
    ]
    assert rounds.waited == [10] * 5


async def test_a_name_that_was_never_resolved_is_asked_for_again_by_the_next_connect() -> None:
    zone = Zone()
    known = names(zone)
    for _ in range(2):
        with pytest.raises(OSError, match="no address"):
            await known.addresses(HOST)
    zone.addresses = ["a"]
    assert await known.addresses(HOST) == ["a"]
    assert zone.asked == 3


async def test_without_a_refresh_the_first_answer_stays() -> None:
    zone = Zone("a")
    known = names(zone)
    await known.keep_fresh(0)
    zone.addresses = ["b"]
    assert await known.addresses(HOST) == ["a"]


# With sockets


def listening(port: int, *addresses: str) -> list[Listener]:
    made = [Listener(port, address) for address in addresses]
    for listener in made:
        listener.listen()
    return made


def point_to_name(plane: DataPlane, folder: Path, zone: Zone, port: int) -> None:
    plane.ports.upstreams._lookup = zone.lookup
    url = f"http://{HOST}:{port}"
    point_to(plane, folder, url, more="dns_refresh: 10ms", connect="3s")


async def served(client: Wire, listener: Listener) -> Wire:
    await client.send(GET)
    wire = await listener.accept()
    assert (await wire.head()).startswith(b"GET /v1/a HTTP/1.1\r\nHost: app.test:")
    await wire.send(OK)
    assert (await answered(client)).status == 200
    return wire


async def test_every_address_of_a_name_is_used(plane: DataPlane, tmp_path: Path) -> None:
    port = free_port()
    listeners = listening(port, "127.0.0.1", "127.0.0.2", "::1")
    zone = Zone("127.0.0.1", "127.0.0.2", "::1")
    point_to_name(plane, tmp_path, zone, port)
    clients = [await plane.client(GET) for _ in range(3)]
    wires = [await listener.accept() for listener in listeners]
    for wire in wires:
        await wire.head()
        await wire.send(OK)
    for client in clients:
        assert (await answered(client)).status == 200
    await plane.records(3)
    await plane.settled(idle=3)
    assert {kept.address for idle in plane.pool._idle for kept in idle} == set(zone.addresses)
    for listener in listeners:
        listener.close()


async def test_an_address_that_takes_no_connection_is_followed_by_the_next(
    plane: DataPlane, tmp_path: Path
) -> None:
    port = free_port()
    (listener,) = listening(port, "127.0.0.2")
    point_to_name(plane, tmp_path, Zone("127.0.0.1", "127.0.0.2", "::1"), port)
    for _ in range(4):
        wire = await served(await plane.client(), listener)
        wire.close()
        await plane.record()
        await plane.until(lambda: not plane.pool._open)
        await plane.settled(idle=0)
    assert plane.ports.stats.worker.upstream_connect_errors == 0
    listener.close()


async def test_an_address_that_is_silent_is_followed_by_the_next(
    plane: DataPlane, tmp_path: Path
) -> None:
    port = free_port()
    silent = Listener(port, "127.0.0.1")
    silent.listen(0)
    filler = await Wire.connect(port)
    (listener,) = listening(port, "127.0.0.2")
    point_to_name(plane, tmp_path, Zone("127.0.0.1", "127.0.0.2"), port)
    assert plane.pool._names is not None
    plane.pool._names._turn = 0
    await served(await plane.client(), listener)
    await plane.record()
    for thing in (filler, silent, listener):
        thing.close()


async def test_when_no_address_takes_connections_the_caller_is_told(
    plane: DataPlane, tmp_path: Path
) -> None:
    point_to_name(plane, tmp_path, Zone("127.0.0.1", "127.0.0.2"), free_port())
    assert (await answered(await plane.client(GET))).status == 502
    assert (await plane.record()).code == "upstream_unreachable"
    assert plane.ports.stats.worker.upstream_connect_errors == 1


async def test_a_name_that_nobody_knows_is_an_upstream_out_of_reach(
    plane: DataPlane, tmp_path: Path
) -> None:
    point_to_name(plane, tmp_path, Zone(), free_port())
    assert (await answered(await plane.client(GET))).status == 502
    assert (await plane.record()).code == "upstream_unreachable"
    assert await plane.counted() == (1, 0)


async def test_a_failover_by_dns_takes_effect_on_idle_and_busy_connections(
    plane: DataPlane, tmp_path: Path
) -> None:
    port, zone = free_port(), Zone("127.0.0.1")
    old, new = listening(port, "127.0.0.1", "127.0.0.2")
    point_to_name(plane, tmp_path, zone, port)
    client = await plane.client()
    unused = await served(client, old)
    busy, working, _ = await plane.asked(GET, unused)
    kept = await served(client, old)
    await plane.until(lambda: plane.idle_count == 1)

    zone.addresses = ["127.0.0.2"]

    assert await kept.rest() == b""
    await working.send(OK)
    assert (await answered(busy)).status == 200
    assert await working.rest() == b""
    await served(client, new)
    await plane.records(4)
    await plane.settled(idle=1)
    for listener in (old, new):
        listener.close()


async def test_while_the_resolver_fails_nothing_changes(plane: DataPlane, tmp_path: Path) -> None:
    port, zone = free_port(), Zone("127.0.0.1")
    (listener,) = listening(port, "127.0.0.1")
    point_to_name(plane, tmp_path, zone, port)
    client = await plane.client()
    wire = await served(client, listener)
    zone.addresses = []
    await plane.until(lambda: plane.ports.stats.worker.upstream_resolve_errors > 2)
    assert wire.silent()
    wire.close()
    await plane.until(lambda: not plane.pool._open)
    await served(client, listener)
    await plane.records(2)
    listener.close()


async def test_literal_addresses_are_never_looked_up(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    zone = Zone()
    plane.ports.upstreams._lookup = zone.lookup
    point_to(plane, tmp_path, f"http://127.0.0.1:{upstream_port}")
    assert plane.pool._names is None
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    assert (await answered(client)).status == 200
    await plane.record()
    assert zone.asked == 0
