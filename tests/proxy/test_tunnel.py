"""Bytes pass both ways until one side ends it, however it does; nothing is left behind."""

import asyncio
from pathlib import Path

import pytest

from gateway.metering.recorder import Recorder, Waiter
from gateway.proxy.connection import ClientConnection
from gateway.rules.record import Record
from tests.proxy.tunnels import REQUEST, SWITCHING, Ends, opened, text
from tests.support.data_plane import DataPlane, answer_half_closed
from tests.support.wire import Wire

PLAIN = REQUEST.replace(b"GET /ws ", b"GET /v1/ws ")


async def plain(plane: DataPlane) -> Ends:
    return await opened(plane, PLAIN)


def sides(ends: Ends, side: str) -> tuple[Wire, Wire]:
    """Return one side and the other."""
    both = (ends.client, ends.upstream)
    return both if side == "client" else (both[1], both[0])


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


async def test_a_client_that_ended_before_the_answer_gets_none(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(PLAIN)
    client.half_close()

    assert await upstream.rest() == b""
    assert await client.rest() == b""

    record = await plane.record()
    assert (record.status, record.outcome) == (499, "client_gone")


async def test_where_half_closed_clients_are_answered_its_end_is_passed_on(
    plane: DataPlane, tmp_path: Path
) -> None:
    answer_half_closed(plane, tmp_path)
    client, upstream, _ = await plane.asked(PLAIN)
    client.half_close()
    await plane.turns(20)
    await upstream.send(SWITCHING + b"bye")

    assert await upstream.rest() == b""
    assert (await client.until(b"bye")).startswith(b"HTTP/1.1 101 ")
    await upstream.send(b" bye")
    assert await client.exactly(4) == b" bye"
    upstream.close()
    assert await client.rest() == b""
    await plane.records(1)
    await Ends(plane, client, upstream).over()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_whoever_resets_ends_both(plane: DataPlane, side: str) -> None:
    ends = await plain(plane)
    await ends.up(text(b"hello"))
    mine, other = sides(ends, side)

    mine.reset()

    await other.rest()
    other.close()
    await ends.over()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_an_end_is_passed_on_and_the_other_direction_is_kept(
    plane: DataPlane, side: str
) -> None:
    ends = await plain(plane)
    mine, other = sides(ends, side)
    await mine.send(b"last words")
    mine.half_close()

    assert await other.rest() == b"last words"
    assert other.ended == "fin"
    await plane.advance(29)
    for piece in (b"x" * 200_000, b"and more"):
        await other.send(piece)
        assert await mine.exactly(len(piece)) == piece
    other.half_close()

    assert await mine.rest() == b""
    assert mine.ended == "fin"
    await ends.over()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_direction_that_is_kept_is_closed_after_a_while(
    plane: DataPlane, side: str
) -> None:
    ends = await plain(plane)
    mine, other = sides(ends, side)
    mine.half_close()
    await other.rest()
    await plane.advance(29)
    await other.send(b"still here")
    assert await mine.exactly(10) == b"still here"

    await plane.advance(2)

    assert await mine.rest() == b""
    await ends.over()


async def test_who_takes_nothing_when_the_while_is_over_is_cut_off(plane: DataPlane) -> None:
    client = await plane.client(PLAIN, receive_buffer_bytes=4096)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(SWITCHING)
    await client.head()
    await plane.record()
    client.half_close()
    await upstream.rest()
    (connection,) = plane.pool._open
    while not connection.reading.is_paused:
        await upstream.send(b"x" * 65_536)
        await plane.turns()
    await plane.advance(31)
    assert plane.ports.connections

    await plane.advance(4)

    await plane.deserted()
    upstream.close()
    await Ends(plane, client, upstream).over()


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
