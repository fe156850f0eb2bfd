"""A client that leaves before it is answered: what is cancelled, finished and paid.

The same on real processes and over TLS: tests/system/test_clients_leave.py.
"""

import asyncio
from pathlib import Path

import pytest

from gateway.keys.port import KeyDirectory, KeyEntry
from gateway.proxy.exchange import ClientSide, Exchange
from gateway.proxy.leaving import stop_without_client, time_is_up_without_client
from gateway.rules.charge import Charge, Counts
from tests.proxy.leavers import (
    BROKEN,
    CHUNKED,
    FREE,
    OK,
    WAYS,
    SlowStore,
    asking,
    books,
    cancelling,
    chunk,
    leave,
    post,
)
from tests.support.data_plane import DataPlane, answered, snapshot_in
from tests.support.http_judge import requests_in

# Before it was forwarded whole


@WAYS
@pytest.mark.parametrize(
    "sent",
    [
        post()[:-2],
        asking(b"POST", more=b"Transfer-Encoding: chunked\r\n") + b"4\r\nbody\r\n",
        post(b"x" * 300_000)[:-1],
    ],
)
async def test_an_upload_that_is_broken_off_is_cancelled_and_given_back(
    plane: DataPlane, way: str, sent: bytes
) -> None:
    client, upstream, _ = await plane.asked(sent)
    await upstream.exactly(2)
    assert (await plane.counted())[1] == 1
    leave(client, way)

    assert books(await plane.record()) == FREE
    assert (await plane.counted())[1] == 0
    await upstream.rest()
    await plane.settled(idle=0)
    await plane.deserted()


@WAYS
async def test_leaving_while_a_100_is_awaited_is_the_same(plane: DataPlane, way: str) -> None:
    client, upstream, _ = await plane.asked(
        asking(b"POST", more=b"Content-Length: 4\r\nExpect: 100-continue\r\n")
    )
    leave(client, way)

    assert books(await plane.record()) == FREE
    assert (await plane.counted())[1] == 0
    await upstream.rest()


async def test_what_still_waits_here_for_the_upstream_was_not_forwarded(plane: DataPlane) -> None:
    """The body has come whole, and most of it lies in this process."""
    plane.upstream.buffer(4096)
    client, upstream, _ = await plane.asked(post(b"x" * 3_000_000)[:-2_900_000])
    (connection,) = plane.pool._open
    asked = asyncio.ensure_future(client.send(b"x" * 2_900_000))
    while not asked.done():
        await upstream.exactly(1000)
        await plane.turns()
    await plane.until(lambda: not any(e.body_complete is False for e in plane.ports.exchanges))
    assert connection.transport.get_write_buffer_size()
    client.half_close()

    assert books(await plane.record()) == FREE
    await upstream.rest()


@pytest.mark.sources
@WAYS
async def test_leaving_while_the_store_is_asked_gives_back(plane: DataPlane, way: str) -> None:
    real = plane.ports.counters
    slow = plane.ports.counters = SlowStore(real)  # type: ignore[assignment]
    client = await plane.client(post())
    await plane.until(lambda: slow.asked)
    leave(client, way)
    await plane.deserted() if way == "reset" else await plane.turns(20)
    slow.may_answer.set()

    assert books(await plane.record()) == FREE
    plane.ports.counters = real
    assert (await plane.counted())[1] == 0
    assert plane.upstream.is_quiet()


@pytest.mark.sources
async def test_one_that_would_be_refused_was_not_there_either(plane: DataPlane) -> None:
    """A refusal that is decided after the client left reaches no client."""
    real = plane.ports.counters
    slow = plane.ports.counters = SlowStore(real)  # type: ignore[assignment]
    client = await plane.client(asking())
    await plane.until(lambda: slow.asked)
    client.half_close()
    await plane.turns(20)

    async def refused(charge: Charge) -> Counts:
        return Counts(admitted=False, repeat=False, now_micro=1, after_micro=charge.amounts_micro)

    real_charge, real.charge = real.charge, refused  # type: ignore[method-assign]
    slow.may_answer.set()

    record = await plane.record()
    real.charge = real_charge  # type: ignore[method-assign]
    plane.ports.counters = real
    assert (books(record), record.code, record.violated) == (FREE, None, [])


@pytest.mark.sources
@WAYS
async def test_leaving_while_the_key_is_looked_up_charges_nothing(
    plane: DataPlane, way: str
) -> None:
    class SlowKeys(KeyDirectory):
        asked = 0

        def known(self, key_hash: bytes) -> KeyEntry | None:
            return None

        async def find(self, key_hash: bytes, client_address: str) -> KeyEntry | None:
            self.asked += 1
            await may_answer.wait()
            return real.known(key_hash)

    may_answer = asyncio.Event()
    real = plane.ports.keys
    slow = plane.ports.keys = SlowKeys()  # type: ignore[abstract]
    client = await plane.client(post())
    await plane.until(lambda: slow.asked)
    leave(client, way)
    await plane.deserted() if way == "reset" else await plane.turns(20)
    may_answer.set()

    record = await plane.record()
    plane.ports.keys = real
    assert (record.status, record.outcome, record.billable) == (499, "client_gone", False)
    assert await plane.counted() == (0, 0)
    assert plane.upstream.is_quiet()


@WAYS
async def test_leaving_the_queue_for_a_connection_gives_back(plane: DataPlane, way: str) -> None:
    for _ in range(4):
        await plane.client(asking())
        await (await plane.upstream.accept()).head()
    waiting = await plane.client(post())
    await plane.until(lambda: len(plane.pool._waiting) == 1)
    leave(waiting, way)
    await plane.until(lambda: len(plane.ports.connections) == 4)
    first = plane.upstream.wires[0]
    await first.send(OK)

    await plane.until(lambda: len(plane.journal.reader.read_unshipped(9).records) == 2)
    outcomes = {record.outcome for record in plane.journal.reader.read_unshipped(9).records}
    assert outcomes == {"completed", "client_gone"}
    assert len(requests_in(first.received)) == 1
    for wire in plane.upstream.wires[1:]:
        await wire.send(OK)
    await plane.until(lambda: not plane.ports.exchanges)
    assert (await plane.counted())[1] == 4


# Forwarded, not answered


@WAYS
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
@pytest.mark.parametrize("answer_begins", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_a_safe_request_is_cancelled_and_free(
    plane: DataPlane, tmp_path: Path, way: str, method: bytes, answer_begins: bytes
) -> None:
    all_methods(plane, tmp_path)
    client, upstream, _ = await plane.asked(asking(method))
    if answer_begins:
        await upstream.send(answer_begins)
        await plane.turns(10)
    leave(client, way)

    assert books(await plane.record()) == FREE
    assert (await plane.counted())[1] == 0
    await upstream.rest()
    await plane.settled(idle=0)
    await plane.deserted()


def all_methods(plane: DataPlane, folder: Path) -> None:
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    other = folder / "methods"
    other.mkdir()
    old = 'methods: [GET, POST, PUT, DELETE], path: "/v1/**"'
    new = 'methods: [GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE], path: "/v1/**"'
    plane.ports.swap(snapshot_in(other, port, lambda text: text.replace(old, new)))


@WAYS
@pytest.mark.parametrize(
    "request_", [post(), asking(b"DELETE"), asking(b"PUT"), post().replace(b"POST", b"PATCH")]
)
@pytest.mark.parametrize("answer_begins", [0, 20])
async def test_any_other_request_is_finished_and_its_status_decides(
    plane: DataPlane, tmp_path: Path, way: str, request_: bytes, answer_begins: int
) -> None:
    all_methods(plane, tmp_path)
    client, upstream, _ = await plane.asked(request_)
    if answer_begins:
        await upstream.send(OK[:answer_begins])
        await plane.turns(10)
    leave(client, way)
    await plane.deserted()
    assert plane.ports.exchanges
    await upstream.send(OK[answer_begins:])

    assert books(await plane.record()) == (200, "client_gone", True, "success")
    assert (await plane.counted())[1] == 1
    await plane.settled(idle=1)


@WAYS
async def test_an_answer_that_is_not_billed_is_not_billed(plane: DataPlane, way: str) -> None:
    client, upstream, _ = await plane.asked(post())
    leave(client, way)
    await plane.deserted()
    await upstream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    assert books(await plane.record()) == (404, "client_gone", False, "http_404")
    assert (await plane.counted())[1] == 0


async def test_nothing_is_written_to_a_client_that_only_closed_its_side(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post())
    client.half_close()
    await plane.turns(20)
    await upstream.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)

    assert await client.rest() == b""
    assert (await plane.record()).outcome == "client_gone"


async def test_the_cost_is_still_read_from_a_body_that_nobody_waits_for(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post(path=b"/usage"))
    assert (await plane.counted())[1] == 5
    client.half_close()
    await plane.deserted()
    body = b'{"text":"%b","used":42}' % (b"x" * 200_000)
    whole = CHUNKED + b"".join(chunk(body[at : at + 10_000]) for at in range(0, len(body), 10_000))
    await upstream.send(whole + b"0\r\n\r\n")

    record = await plane.record()
    assert books(record) == (200, "client_gone", True, "success")
    assert record.charged_micro == {"dc": 42_000_000}
    assert (await plane.counted())[1] == 42
    await plane.settled(idle=1)


async def test_the_cost_in_a_header_is_still_read(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post(b'{"n":3}', path=b"/json"))
    client.half_close()
    await plane.deserted()
    await upstream.send(OK.replace(b"\r\n", b"\r\nX-DC-Used: 2\r\n", 1))

    assert (await plane.record()).charged_micro == {"dc": 2_000_000}
    assert (await plane.counted())[1] == 2


@WAYS
async def test_a_route_may_cancel_it_and_bill_what_was_reserved(
    plane: DataPlane, tmp_path: Path, way: str
) -> None:
    cancelling(plane, tmp_path)
    client, upstream, _ = await plane.asked(post(b'{"n":3,"run":"r"}', path=b"/json"))
    leave(client, way)

    record = await plane.record()
    assert books(record) == (499, "client_gone", True, "abandoned")
    assert record.charged_micro == {"dc": 3_000_000}
    assert (await plane.counted())[1] == 3
    await upstream.rest()
    await plane.settled(idle=0)

    again, upstream, _ = await plane.asked(post(b'{"n":3,"run":"r"}', path=b"/json"))
    await upstream.send(OK)  # its run has been charged
    await answered(again, b"POST")
    assert (await plane.record()).repeat
    assert (await plane.counted())[1] == 3


async def test_a_run_that_was_given_back_may_be_charged_again(plane: DataPlane) -> None:
    whole = post(b'{"n":3,"run":"r"}', path=b"/json")
    client, upstream, _ = await plane.asked(whole)
    client.half_close()
    await plane.deserted()
    await upstream.send(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
    assert books(await plane.record()) == (409, "client_gone", False, "http_409")
    assert (await plane.counted())[1] == 0

    again, _, _ = await plane.asked(whole, upstream)
    await upstream.send(OK)
    await answered(again, b"POST")
    record = await plane.record()
    assert (record.repeat, record.billable) == (False, True)


# No failure of the upstream


@pytest.mark.parametrize(
    "fails",
    [
        b"",
        b"HTTP/1.1 2",
        b"no HTTP\r\n\r\n",
        BROKEN,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
    ],
)
async def test_an_upstream_that_fails_then_is_not_blamed(plane: DataPlane, fails: bytes) -> None:
    for _ in range(4):  # three would eject it
        client, upstream, _ = await plane.asked(post())
        client.half_close()
        await plane.deserted()
        await upstream.send(fails)
        upstream.close()
        record = await plane.record()
        assert record.outcome == "client_gone"
        assert record.billable == (b"200" in fails)
        assert record.code is None
    assert plane.ports.stats.worker.upstream_ejections == 0
    (state,) = plane.pool._states
    assert not state.is_troubled


async def test_a_time_that_runs_out_then_is_nobodys_fault_and_not_for_free(
    plane: DataPlane,
) -> None:
    for seconds in (31, 31, 31, 31):
        client, upstream, _ = await plane.asked(post())
        client.half_close()
        await plane.deserted()
        await plane.advance(seconds)
        record = await plane.record()
        assert books(record) == (499, "client_gone", True, "abandoned")
        await upstream.rest()
    assert plane.ports.stats.worker.upstream_ejections == 0
    assert (await plane.counted())[1] == 4


@pytest.mark.parametrize("is_total", [True, False])
async def test_a_time_that_runs_out_in_the_queue_costs_nothing(is_total: bool) -> None:
    """It waits for a connection in the place of a stale one: no upstream works on it."""
    exchange = Exchange(ClientSide(asyncio.get_running_loop()))
    exchange.client_gone = exchange.finishes = True

    time_is_up_without_client(exchange, is_total=is_total)

    assert not exchange.bills_reserve
    assert (exchange.refusal is not None) == is_total


async def test_the_total_time_bounds_what_is_finished(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post())
    client.half_close()
    await plane.deserted()
    await plane.advance(29)
    await upstream.send(CHUNKED + chunk(b"x"))
    await plane.turns(20)

    await plane.advance(2)

    assert books(await plane.record()) == (200, "client_gone", True, "success")
    await upstream.rest()
    assert not plane.pool._states[0].is_troubled


async def test_the_end_of_the_drain_bounds_it_too(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(post())
    client.half_close()
    await plane.deserted()
    for exchange in tuple(plane.ports.exchanges):
        stop_without_client(exchange)

    assert books(await plane.record()) == FREE
    await upstream.rest()


async def test_a_stale_connection_is_replaced_only_for_what_is_finished(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(asking(b"GET"))
    await upstream.send(OK)
    await answered(client)
    await plane.record()
    gone = await plane.client(asking(b"DELETE"))
    await upstream.head()
    gone.half_close()
    await plane.until(lambda: any(e.finishes for e in plane.ports.exchanges))
    upstream.close()

    other = await plane.upstream.accept()
    await other.head()
    await other.send(OK)

    assert books(await plane.record()) == (200, "client_gone", True, "success")
