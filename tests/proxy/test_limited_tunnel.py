"""A tunnel ends when its time is over: both sides are told so between two frames, or cut off."""

from pathlib import Path

import pytest

from gateway.proxy.connection import ClientConnection
from gateway.proxy.tunnel import CLOSE_SECONDS, Tunnels
from tests.proxy.tunnels import (
    REQUEST,
    SWITCHING,
    Ends,
    close,
    closing,
    limited,
    opened,
    ping,
    text,
    told,
)
from tests.support.data_plane import DataPlane

RULES = "{duration: 1h, idle: 60s}"


@pytest.fixture
async def ends(plane: DataPlane, tmp_path: Path) -> Ends:
    limited(plane, tmp_path, RULES)
    return await opened(plane)


async def test_frames_pass_as_they_are(ends: Ends) -> None:
    await ends.up(text(b"x" * 70_000) + ping() + text(b"half", fin=False)[:3])
    await ends.down(b"\x83no frame that there is")
    await ends.leave()


@pytest.mark.parametrize(("rules", "seconds", "why"), [
    ("{duration: 5s}", 5.1, "duration"),
    ("{idle: 5s}", 5.1, "idle"),
    ("{duration: 9s, idle: 5s}", 5.1, "idle"),
])  # fmt: skip
async def test_both_sides_are_told_and_answer(
    plane: DataPlane, tmp_path: Path, rules: str, seconds: float, why: str
) -> None:
    limited(plane, tmp_path, rules)
    ends = await opened(plane)
    await ends.up(text(b"hello"))
    await ends.down(text(b"hello", masked=False))

    await plane.advance(seconds)

    assert await told(ends.client) == (1001, why, False)
    assert await told(ends.upstream) == (1001, why, True)
    await ends.client.send(close(1001))
    assert await ends.client.rest() == b""
    assert ends.client.ended == "fin"
    await ends.upstream.send(close(1001, masked=False))
    assert await ends.upstream.rest() == b""
    await ends.over()
    assert plane.ports.stats.worker.tunnels_ended == {why: 1}


async def test_whatever_passes_keeps_it_open(ends: Ends) -> None:
    plane = ends.plane
    for turn in range(4):
        await plane.advance(40)
        await (ends.up(ping()) if turn % 2 else ends.down(ping()))
    assert ends.client.silent()
    assert not plane.ports.stats.worker.tunnels_ended
    await ends.leave()


async def test_nothing_passes_after_the_close(ends: Ends) -> None:
    await ends.plane.advance(61)
    await told(ends.client)
    await told(ends.upstream)

    await ends.client.send(text(b"too late") + close(1001))
    await ends.upstream.send(text(b"too late", masked=False) + close(1001, masked=False))

    assert await ends.client.rest() == b""
    assert await ends.upstream.rest() == b""
    await ends.over()


async def test_who_does_not_answer_is_cut_off(ends: Ends) -> None:
    await ends.plane.advance(61)
    await told(ends.client)
    await told(ends.upstream)
    await ends.plane.advance(CLOSE_SECONDS - 0.5)
    assert ends.client.silent()
    assert ends.upstream.silent()

    await ends.plane.advance(0.6)

    await ends.client.rest()
    await ends.upstream.rest()
    await ends.over()


async def test_a_client_that_does_not_read_is_cut_off(plane: DataPlane, tmp_path: Path) -> None:
    limited(plane, tmp_path, RULES)
    ends = await opened(plane)
    (connection,) = plane.pool._open
    frame = text(b"x" * 60_000, masked=False)
    for _ in range(400):
        if connection.reading.is_paused:
            break
        await ends.upstream.send(frame)
    await plane.until(lambda: connection.reading.is_paused)

    await plane.advance(61)
    await plane.advance(CLOSE_SECONDS + 0.1)

    await ends.over()
    await ends.upstream.rest()


@pytest.mark.parametrize("size", [1, 4, 10])
async def test_a_side_within_a_frame_is_closed_without_a_word(ends: Ends, size: int) -> None:
    begun = text(b"hello")[:size]
    await ends.down(begun)

    await ends.plane.advance(61)

    assert await ends.client.rest() == b""
    assert await told(ends.upstream) == (1001, "idle", True)
    ends.upstream.close()
    await ends.over()


async def test_an_upstream_within_a_frame_is_closed_and_the_client_told(ends: Ends) -> None:
    await ends.up(text(b"hello")[:-1])

    await ends.plane.advance(61)

    assert await ends.upstream.rest() == b""
    assert await told(ends.client) == (1001, "idle", False)
    await ends.client.send(b"x" + close())  # the end of the frame, and the answer
    assert await ends.client.rest() == b""
    await ends.over()


async def test_who_has_said_close_is_not_told_again(ends: Ends) -> None:
    await ends.up(close(1000))
    await ends.down(close(1000, masked=False))

    await ends.plane.advance(61)

    assert await ends.client.rest() == b""
    assert await ends.upstream.rest() == b""
    await ends.over()


async def test_at_the_drain_both_are_told_and_have_that_long(ends: Ends) -> None:
    (connection,) = ends.plane.ports.connections
    assert isinstance(connection, ClientConnection)
    connection.go_away(30)

    assert await told(ends.client) == (1001, "drain", False)
    assert await told(ends.upstream) == (1001, "drain", True)
    await ends.plane.advance(29)
    assert ends.client.silent()
    await ends.client.send(text(b"not passed on") + close(1001))
    assert await ends.client.rest() == b""
    assert ends.client.ended == "fin"
    assert ends.upstream.silent()
    await ends.plane.advance(1.1)
    assert await ends.upstream.rest() == b""
    await ends.over()
    assert ends.plane.ports.stats.worker.tunnels_ended == {"drain": 1}


async def test_one_that_opens_during_the_drain_is_told_at_once(
    plane: DataPlane, tmp_path: Path
) -> None:
    limited(plane, tmp_path, RULES)
    client, upstream, _ = await plane.asked(REQUEST)
    plane.ports.is_draining = True
    plane.ports.drain_ends_at = plane.ports.loop.time() + 30
    await upstream.send(SWITCHING)
    await client.head()
    await plane.records(1)
    ends = Ends(plane, client, upstream)

    assert await told(ends.client) == (1001, "drain", False)
    assert await told(ends.upstream) == (1001, "drain", True)

    ends.client.close()
    ends.upstream.close()
    await ends.over()


@pytest.mark.parametrize("how", ["half_close", "reset"])
@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_whoever_ends_it_ends_both(ends: Ends, side: str, how: str) -> None:
    mine, other = (ends.client, ends.upstream)[:: 1 if side == "client" else -1]

    getattr(mine, how)()

    await other.rest()
    other.close()
    await ends.over()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_the_other_direction_is_kept_for_as_long_as_the_route_says(
    plane: DataPlane, tmp_path: Path, side: str
) -> None:
    limited(plane, tmp_path, "{idle: 60s, half_close: 5s}")
    ends = await opened(plane)
    await ends.up(text(b"hello"))
    mine, other = (ends.client, ends.upstream)[:: 1 if side == "client" else -1]
    mine.half_close()
    assert await other.rest() == b""
    await plane.advance(4)
    frame = text(b"still here")
    await other.send(frame)
    assert await mine.exactly(len(frame)) == frame

    await plane.advance(1.5)

    assert closing(await mine.rest()) == (1001, "half_close", side == "upstream")
    other.close()
    await ends.over()
    assert plane.ports.stats.worker.tunnels_ended == {"half_close": 1}


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_route_may_close_both_at_once(plane: DataPlane, tmp_path: Path, side: str) -> None:
    limited(plane, tmp_path, "{half_close: 0s}")
    ends = await opened(plane)
    mine, other = (ends.client, ends.upstream)[:: 1 if side == "client" else -1]
    mine.half_close()

    assert await other.rest() == b""
    assert await mine.rest() == b""
    await ends.over()


async def test_an_upstream_that_takes_nothing_does_not_keep_it(ends: Ends) -> None:
    plane = ends.plane
    (connection,) = plane.pool._open
    while not connection.write_paused:
        await ends.client.send(text(b"x" * 60_000))
        await plane.turns()
    ends.client.reset()  # seen by the sweep: it is not read from
    await plane.advance(61)
    assert plane.ports.tunnels.open

    await plane.advance(CLOSE_SECONDS + 0.1)

    await ends.over()


async def test_only_limited_tunnels_are_looked_at(plane: DataPlane) -> None:
    ends = await opened(plane, REQUEST.replace(b"/ws ", b"/v1/ws "))
    assert not plane.ports.tunnels.open
    await ends.leave()


def test_places_are_counted_by_name() -> None:
    tunnels = Tunnels()

    assert tunnels.enter("a", 2)
    assert tunnels.enter("a", 2)
    assert not tunnels.enter("a", 2)
    assert tunnels.enter("b", 1)
    tunnels.leave("a")
    tunnels.leave("")

    assert (tunnels.taken("a"), tunnels.taken("b")) == (1, 1)
