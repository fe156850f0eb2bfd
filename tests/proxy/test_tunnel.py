"""Bytes pass both ways until one side ends it, however it does; nothing is left behind."""

import asyncio

import pytest

from gateway.metering.recorder import Recorder, Waiter
from gateway.proxy.connection import ClientConnection
from gateway.rules.record import Record
from tests.proxy.tunnels import REQUEST, SWITCHING, Ends, opened, text
from tests.support.data_plane import DataPlane

PLAIN = REQUEST.replace(b"GET /ws ", b"GET /v1/ws ")


async def plain(plane: DataPlane) -> Ends:
    return await opened(plane, PLAIN)


async def test_anything_passes_both_ways(plane: DataPlane) -> None:
    ends = await plain(plane)

    await ends.up(b"no frame at all")
    await ends.down(b"neither is this")
    assert not plane.ports.tunnels.open

    await ends.leave()


async def test_what_came_behind_the_heads_is_not_lost(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(PLAIN + b"early")
    await upstream.send(SWITCHING + b"welcome")

    await client.head()
    assert await client.exactly(7) == b"welcome"
    assert await upstream.exactly(5) == b"early"
    await plane.records(1)
    await Ends(plane, client, upstream).leave()


async def test_what_comes_while_the_record_is_written_is_not_lost(plane: DataPlane) -> None:
    """A service that greets at once must not be taken for one that breaks the protocol."""
    client, upstream, _ = await plane.asked(PLAIN)
    waiting: list[tuple[Record, Waiter]] = []

    class Slow(Recorder):
        is_available = True

        def append(self, record: Record, waiter: Waiter) -> None:
            waiting.append((record, waiter))

    journal, plane.ports.journal = plane.ports.journal, Slow()
    await upstream.send(SWITCHING)
    await plane.until(lambda: waiting)
    await upstream.send(b"greeting")
    await client.send(b"early")
    await asyncio.sleep(0.02)  # nothing that could be waited for happens
    plane.ports.journal = journal
    journal.append(*waiting[0])

    await client.head()
    assert await client.exactly(8) == b"greeting"
    assert await upstream.exactly(5) == b"early"
    await plane.records(1)
    await Ends(plane, client, upstream).leave()


async def test_a_client_that_ended_before_the_answer_still_gets_it(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(PLAIN)
    client.half_close()
    await plane.turns()
    await upstream.send(SWITCHING + b"bye")

    assert await upstream.rest() == b""
    upstream.close()
    assert (await client.rest()).endswith(b"\r\n\r\nbye")
    await plane.records(1)
    await Ends(plane, client, upstream).over()


@pytest.mark.parametrize("how", ["half_close", "reset"])
@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_whoever_ends_it_ends_both(plane: DataPlane, side: str, how: str) -> None:
    ends = await plain(plane)
    await ends.up(text(b"hello"))
    mine, other = (ends.client, ends.upstream)[:: 1 if side == "client" else -1]

    getattr(mine, how)()

    await other.rest()
    other.close()
    await ends.over()


async def test_a_slow_client_holds_the_upstream_up(plane: DataPlane) -> None:
    ends = await plain(plane)
    (connection,) = plane.pool._open
    piece, sent = b"x" * 65_536, 0
    while not connection.reading.is_paused:
        await ends.upstream.send(piece)
        sent += len(piece)
        await plane.turns()

    assert len(await ends.client.exactly(sent)) == sent

    assert not connection.reading.is_paused
    await ends.leave()


async def test_it_has_the_drain_and_is_closed_with_what_was_still_to_be_sent(
    plane: DataPlane,
) -> None:
    ends = await plain(plane)
    (connection,) = plane.ports.connections
    assert isinstance(connection, ClientConnection)
    connection.go_away(30)
    await plane.advance(29)
    await ends.up(b"still")
    await ends.down(b"here")
    await ends.upstream.send(b"last words")
    assert await ends.client.exactly(10) == b"last words"

    connection.end_tunnel()

    assert await ends.client.rest() == b""
    assert ends.client.ended == "fin"
    assert await ends.upstream.rest() == b""
    await ends.over()


async def test_one_that_opens_during_the_drain_has_what_is_left_of_it(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(PLAIN)
    plane.ports.is_draining = True
    plane.ports.drain_ends_at = plane.ports.loop.time() + 30
    await upstream.send(SWITCHING)
    await client.head()
    await plane.records(1)
    ends = Ends(plane, client, upstream)

    await ends.up(b"anything")
    await ends.down(b"goes")

    await ends.leave()
