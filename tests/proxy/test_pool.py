"""Several endpoints: the least busy is asked, by its own name; the dead are left alone."""

import asyncio
import random
from pathlib import Path

import pytest

from gateway.config.snapshot import Ejection
from gateway.proxy.pool import UpstreamPool, _answer
from gateway.proxy.upstream import UpstreamConnection, UpstreamError
from gateway.story import FailureCall, Story
from gateway.tasks import spawn
from gateway.telemetry.metrics import WorkerStats
from tests.support.data_plane import DATE, KEY, DataPlane, answered, point_to
from tests.support.gateway_process import free_port
from tests.support.wire import Listener, Wire

FAILURES = Ejection().failures
GET = b"GET /v1/a HTTP/1.1\r\nHost: api.example\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
CLOSING = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def host_of(head: bytes) -> bytes:
    return head.partition(b"\r\nHost: ")[2].partition(b"\r\n")[0]


@pytest.mark.parametrize("preserve_host", [True, False])
async def test_each_endpoint_is_asked_by_its_own_name(
    plane: DataPlane, tmp_path: Path, upstream_port: int, *, preserve_host: bool
) -> None:
    """C12: of two endpoints the one with less under way is asked."""
    names = [f"127.0.0.1:{upstream_port}", f"localhost:{upstream_port}"]
    point_to(plane, tmp_path, *(f"http://{name}" for name in names), preserve_host=preserve_host)
    plane.pool._turn = 0
    asked = [await plane.asked(GET) for _ in names]

    expected = [b"api.example"] * 2 if preserve_host else [name.encode() for name in names]
    assert [host_of(head) for _, _, head in asked] == expected
    for client, upstream, _ in asked:
        await upstream.send(OK)
        assert (await answered(client)).status == 200
    assert {record.status for record in await plane.records(2)} == {200}


async def test_an_endpoint_that_can_not_be_reached_is_replaced_and_then_left_alone(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    """C12: nothing was sent, so another is tried; after three failures nobody looks there."""
    dead = free_port()
    point_to(plane, tmp_path, f"http://127.0.0.1:{dead}", f"http://127.0.0.1:{upstream_port}")
    plane.pool._turn = 0
    errors = plane.ports.stats.worker
    for number in range(FAILURES + 2):
        client, upstream, head = await plane.asked(GET)
        assert host_of(head) == b"127.0.0.1:%d" % upstream_port
        await upstream.send(CLOSING)
        assert (await answered(client)).status == 200
        assert errors.upstream_connect_errors == min(number + 1, FAILURES)
        await plane.record()


async def test_when_all_are_dead_the_caller_is_told_and_pays_nothing(
    plane: DataPlane, tmp_path: Path
) -> None:
    point_to(plane, tmp_path, f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")
    client = await plane.client(GET)
    answer = await answered(client)
    record = await plane.record()

    assert (answer.status, record.code) == (502, "upstream_unreachable")
    assert await plane.counted() == (1, 0)


async def test_tied_endpoints_are_asked_in_turn(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    names = [f"127.0.0.1:{upstream_port}", f"localhost:{upstream_port}"]
    point_to(plane, tmp_path, *(f"http://{name}" for name in names))
    asked = []
    for _ in range(4):
        client, upstream, head = await plane.asked(GET)
        asked.append(host_of(head).decode())
        await upstream.send(CLOSING)
        assert (await answered(client)).status == 200
        await plane.record()
    assert asked in (names * 2, names[::-1] * 2)


async def test_workers_begin_at_different_endpoints(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    endpoints = [f"http://127.0.0.{last}:{upstream_port}" for last in range(1, 9)]
    point_to(plane, tmp_path, *endpoints)
    upstream = plane.ports.active.snapshot.upstreams[0]

    turns = {UpstreamPool(upstream, WorkerStats())._turn for _ in range(100)}

    assert len(turns) > 1
    assert turns <= set(range(8))


async def test_an_unused_connection_elsewhere_makes_room_for_a_needed_one(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    other = Listener(port := free_port())
    other.listen()
    urls = (f"http://127.0.0.1:{upstream_port}", f"http://127.0.0.1:{port}")
    point_to(plane, tmp_path, *urls, more="connections_max: 1")
    plane.pool._turn = 0
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    assert (await answered(client)).status == 200
    await client.send(GET)

    wire = await other.accept()
    await wire.head()
    assert await upstream.rest() == b""
    await wire.send(OK)

    assert (await answered(client)).status == 200
    await plane.records(2)
    await plane.settled(idle=1)
    other.close()


async def test_connections_never_exceed_their_bound(plane: DataPlane) -> None:
    """Not even if all requests come in the same turn of the loop, before any is connected."""
    clients = [await plane.client(GET) for _ in range(12)]
    wires = [await plane.upstream.accept() for _ in range(4)]
    for wire in wires:
        await wire.head()
    await plane.until(lambda: len(plane.pool._waiting) == 8)
    assert plane.upstream.is_quiet()
    for _ in range(3):
        for wire in wires:
            await wire.send(OK)
        if len(plane.pool._waiting):
            for wire in wires:
                await wire.head()
    for client in clients:
        assert (await answered(client)).status == 200
    await plane.records(12)
    await plane.settled(idle=4)


async def test_so_many_may_wait_for_a_connection_and_no_more(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    more = "connections_max: 1\n    pending_max: 1"
    point_to(plane, tmp_path, f"http://127.0.0.1:{upstream_port}", more=more)
    first, upstream, _ = await plane.asked(GET)
    second = await plane.client(GET)
    await plane.until(lambda: len(plane.pool._waiting) == 1)

    third = await plane.client(GET)

    assert (await answered(third)).status == 503
    assert b'"overloaded"' in third.received
    for client in (first, second):
        await upstream.send(OK)
        assert (await answered(client)).status == 200
        if client is first:
            await upstream.head()
    await plane.records(3)
    assert (await plane.counted())[1] == 2


async def test_who_has_given_up_does_not_count_as_waiting(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    more = "connections_max: 1\n    pending_max: 1"
    point_to(plane, tmp_path, f"http://127.0.0.1:{upstream_port}", more=more, connect="20ms")
    first, upstream, _ = await plane.asked(GET)
    assert (await answered(await plane.client(GET))).status == 503
    assert not plane.pool._waiting

    await upstream.send(OK)

    assert (await answered(first)).status == 200
    await plane.records(2)


async def test_who_comes_first_is_served_first(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    """A client with many requests on its connection takes nothing from one that waits."""
    point_to(plane, tmp_path, f"http://127.0.0.1:{upstream_port}", more="connections_max: 1")
    greedy, upstream, _ = await plane.asked(GET * 4)
    modest = [await plane.client(GET.replace(b"/v1/a", b"/v1/%d" % number)) for number in range(2)]
    await plane.until(lambda: len(plane.pool._waiting) == 2)
    asked = []
    for _ in range(6):
        await upstream.send(OK)
        if len(asked) < 5:
            asked.append((await upstream.head()).split(b" ")[1])

    assert asked == [b"/v1/0", b"/v1/1", b"/v1/a", b"/v1/a", b"/v1/a"]
    for client in modest:
        assert (await answered(client)).status == 200
    for _ in range(4):
        await greedy.until(b"ok")
    assert {record.status for record in await plane.records(6)} == {200}
    await plane.settled(idle=1)


def acquiring(plane: DataPlane) -> asyncio.Task[UpstreamConnection]:
    return spawn(plane.pool.acquire(), name="acquire", on_error=lambda *_: None)


def story_of_acquiring(plane: DataPlane) -> list[UpstreamConnection]:
    """Acquire a connection as requests do; return where it will be."""
    found: list[UpstreamConnection] = []

    async def told() -> None:
        found.append(await plane.pool.acquire())

    Story(told(), FailureCall(lambda error: plane.failures.append(repr(error)))).resume()
    return found


async def queue(
    plane: DataPlane, folder: Path, upstream_port: int, connections_max: int, waiting: int
) -> tuple[list[UpstreamConnection], list[asyncio.Task[UpstreamConnection]]]:
    """Take all connections and let others wait for them."""
    url = f"http://127.0.0.1:{upstream_port}"
    point_to(plane, folder, url, more=f"connections_max: {connections_max}", connect="5s")
    taken = [await plane.pool.acquire() for _ in range(connections_max)]
    tasks = [acquiring(plane) for _ in range(waiting)]
    await plane.until(lambda: len(plane.pool._waiting) == waiting)
    return taken, tasks


async def first_is_let_in(plane: DataPlane) -> None:
    """Stop before it goes on."""
    while not plane.pool._waiting[0].done():
        await plane.turns(1)


async def test_the_turn_of_one_who_gives_up_is_the_nexts(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    (taken,), waiting = await queue(plane, tmp_path, upstream_port, 1, 3)
    plane.pool.release(taken)
    await first_is_let_in(plane)
    waiting[0].cancel()

    plane.pool.release(await waiting[1])

    plane.pool.release(await waiting[2])
    assert waiting[0].cancelled()
    await plane.until(lambda: not plane.pool._open)
    await plane.settled(idle=0)


async def test_one_whose_time_is_over_holds_nobody_up(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    (taken,), waiting = await queue(plane, tmp_path, upstream_port, 1, 3)
    _answer(plane.pool._waiting[0], False)
    plane.pool.release(taken)

    for task in waiting[1:]:
        plane.pool.release(await task)

    with pytest.raises(UpstreamError, match="overloaded"):
        await waiting[0]
    await plane.until(lambda: not plane.pool._open)
    await plane.settled(idle=0)


async def test_a_newcomer_stands_behind_those_who_are_let_in_and_no_longer(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    """There is room for both; nobody gives a connection back in between."""
    taken, waiting = await queue(plane, tmp_path, upstream_port, 2, 1)
    for connection in taken:
        plane.pool.release(connection)
    await first_is_let_in(plane)
    assert plane.pool.take_idle() is None
    newcomer = story_of_acquiring(plane)
    assert len(plane.pool._waiting) == 2

    first = await waiting[0]
    await plane.until(lambda: newcomer)
    for connection in (first, *newcomer):
        plane.pool.release(connection)
    await plane.until(lambda: not plane.pool._open)
    await plane.settled(idle=0)


async def test_one_who_is_let_in_for_nothing_is_first_again(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    """What a failed attempt leaves is needed for the next one."""
    urls = (f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{upstream_port}")
    point_to(plane, tmp_path, *urls, more="connections_max: 1", connect="5s")
    plane.pool._turn = 0
    trying, first, second = (story_of_acquiring(plane) for _ in range(3))
    assert len(plane.pool._waiting) == 2
    await plane.until(lambda: trying)
    await plane.turns()
    assert len(plane.pool._waiting) == 2

    for found, later in ((trying, first), (first, second)):
        plane.pool.release(found.pop())
        await plane.until(lambda later=later: later)

    plane.pool.release(second.pop())
    assert not first
    await plane.until(lambda: not plane.pool._open)
    await plane.settled(idle=0)


async def test_a_bound_on_requests_refuses_before_anything_is_charged(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    url = f"http://127.0.0.1:{upstream_port}"
    point_to(plane, tmp_path, url, more="requests_max: 2")
    busy = [await plane.asked(GET) for _ in range(2)]
    third = await plane.client(GET)

    answer = await answered(third)

    assert (answer.status, answer.values(b"retry-after")) == (503, [b"1"])
    assert b'"overloaded"' in third.received
    assert await plane.counted() == (2, 2)
    for client, upstream, _ in busy:
        await upstream.send(OK)
        assert (await answered(client)).status == 200
    await plane.records(3)
    await plane.settled(idle=2)


PIPELINING = 100
"""From this seed on clients send several requests at once."""
UPGRADE = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("ends", ["client", "upstream"])
async def test_a_tunnel_is_under_way_until_it_ends(plane: DataPlane, ends: str) -> None:
    client, upstream, _ = await plane.asked(UPGRADE)
    await upstream.send(SWITCHED)
    await client.head()
    await plane.record()
    assert [state.pending for state in plane.pool._states] == [1]

    one, other = (client, upstream) if ends == "client" else (upstream, client)
    one.close()
    assert await other.rest() == b""
    assert [state.pending for state in plane.pool._states] == [1]
    other.close()

    await plane.until(lambda: not plane.pool._open)
    await plane.settled(idle=0)


async def test_a_tunnel_whose_client_left_before_it_began_is_given_back(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(UPGRADE)
    client.reset()
    await upstream.send(SWITCHED)
    await plane.record()
    await plane.settled(idle=0)


@pytest.mark.sources
async def test_a_tunnel_that_could_not_be_recorded_is_given_back(plane: DataPlane) -> None:
    _, upstream, _ = await plane.asked(UPGRADE)
    for exchange in tuple(plane.ports.exchanges):
        release = exchange.release
        exchange.release = lambda written, release=release: release(False)  # type: ignore[method-assign,misc]
    await upstream.send(SWITCHED)
    assert await upstream.rest() == b""
    await plane.settled(idle=0)


async def test_connections_that_end_while_they_are_kept_are_dropped(plane: DataPlane) -> None:
    for end in (Wire.close, Wire.reset, Wire.half_close):
        client, upstream, _ = await plane.asked(GET)
        await upstream.send(OK)
        assert (await answered(client)).status == 200
        await plane.settled(idle=1)
        end(upstream)
        await plane.until(lambda: not plane.pool._open)
        await plane.settled(idle=0)
    await plane.records(3)
    assert plane.ports.stats.worker.upstream_retries == 0


@pytest.mark.parametrize("stray", [b"x", b"\r\n\r\n", OK])
async def test_a_kept_connection_that_says_something_is_discarded(
    plane: DataPlane, stray: bytes
) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    assert (await answered(client)).status == 200
    await upstream.send(stray)
    assert await upstream.rest() == b""
    await plane.settled(idle=0)
    await client.send(GET)
    fresh = await plane.upstream.accept()
    await fresh.head()
    await fresh.send(OK)
    assert (await answered(client)).status == 200
    await plane.records(2)


@pytest.mark.parametrize(
    "answer",
    [
        CLOSING,
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        OK.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive, Close\r\n\r\n"),
    ],
)
async def test_an_upstream_that_wants_to_close_is_not_asked_again(
    plane: DataPlane, answer: bytes
) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(answer)
    assert (await answered(client)).status == 200
    assert await upstream.rest() == b""
    await plane.record()
    await plane.settled(idle=0)


@pytest.mark.parametrize("seed", [*range(12), 21, 26, 39, *range(PIPELINING, PIPELINING + 8)])
async def test_nothing_leaks_whatever_happens(
    plane: DataPlane, tmp_path: Path, upstream_port: int, seed: int
) -> None:
    """C12: whatever upstreams and clients do, in the end nothing is under way or open but idle."""
    chance = random.Random(seed)
    other = Listener(port := free_port())
    other.listen()
    urls = [f"http://127.0.0.1:{number}" for number in (upstream_port, port, free_port())]
    more = (
        f"connections_max: {chance.randint(1, 4)}\n    requests_max: {chance.choice([0, 3])}\n"
        "    ejection: {failures: 2, eject_after_5xx: 2, rest: 1s}\n"
        "    circuit: {failures: [connect, closed, 5xx], requests: 4, percent: 60, pause: 1s}"
    )
    point_to(plane, tmp_path, *urls, more=more)
    requests = GET * 3 if seed >= PIPELINING else GET
    for _ in range(40):
        client = await plane.client(chance.choice([requests, GET, UPGRADE]))
        if chance.random() < 0.2:
            client.reset()
        for listener in (plane.upstream, other):
            while (wire := listener.accepted()) is not None:
                listener.wires.append(wire)
        for wire in [*plane.upstream.wires, *other.wires]:
            if not wire.is_closed and chance.random() < 0.6:
                await misbehave(wire, chance)
        await plane.advance(chance.choice([0, 0, 0.1, 0.6, 31]))
        assert_counted(plane)
        await plane.until(lambda: not is_anybody_forgotten(plane.pool))
    for wire in (*plane.clients, *plane.upstream.wires, *other.wires):
        wire.close()
    other.close()
    plane.upstream.close()
    await plane.advance(31)
    await plane.deserted()
    await plane.advance(31)
    await plane.settled(idle=0)
    assert not any(state.is_on_trial for state in plane.pool._states)


async def misbehave(wire: Wire, chance: random.Random) -> None:
    """Do something that upstreams do."""
    server_error = OK.replace(b"200", b"503")
    said = chance.choice([OK, OK, OK, OK + b"x", CLOSING, server_error, SWITCHED, b"x", b"", b""])
    try:
        if said:
            await wire.send(said[: chance.choice([20, len(said), len(said)])])
        else:
            chance.choice([Wire.close, Wire.reset, Wire.half_close])(wire)
    except OSError:
        wire.close()


def assert_counted(plane: DataPlane) -> None:
    """Check what holds at any time: open is idle or taken, and taken is what is pending."""
    pool = plane.pool
    kept = {connection for idle in pool._idle for connection in idle}
    assert kept <= pool._open
    taken = [known for known in pool._open - kept if not known.is_closed]
    for state in pool._states:
        assert state.pending >= sum(known.endpoint is state for known in taken)


def is_anybody_forgotten(pool: UpstreamPool) -> bool:
    """Return whether somebody waits although there is room."""
    busy = len(pool._open) + pool._connecting - sum(len(idle) for idle in pool._idle)
    return busy < pool.upstream.connections_max and bool(pool._waiting)
