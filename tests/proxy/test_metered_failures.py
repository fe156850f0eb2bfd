"""A metered tunnel when the store, the journal or the key is gone, or an answer comes too late."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.counters.memory import MemoryCounterStore
from gateway.counters.port import CounterStore
from gateway.errors import StoreUnavailable
from gateway.keys.port import KeyDirectory, KeyEntry
from gateway.metering.recorder import Recorder, Waiter
from gateway.proxy.limited_tunnel import CLOSE_SECONDS
from gateway.rules.charge import Charge, Correction, Counts
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from tests.proxy.tunnels import (
    closed,
    dc_of,
    limited,
    meter,
    metered,
    opened,
    ping,
    text,
    told,
    used,
)
from tests.support.data_plane import DataPlane


class Waiting(CounterStore):
    """A counter store whose answers wait to be let go."""

    is_available = True

    def __init__(self, then: MemoryCounterStore) -> None:
        self._then = then
        self.asked = 0
        self.error: StoreUnavailable | None = None
        self.may_answer = asyncio.Event()

    async def charge(self, charge: Charge) -> Counts:
        self.asked += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return await self._then.charge(charge)

    async def correct(self, corrections: Sequence[Correction]) -> None:
        await self._then.correct(corrections)

    async def read(self, tag: str, keys: Sequence[str]) -> tuple[int, ...]:
        return await self._then.read(tag, keys)

    def now_micro(self) -> int:
        return self._then.now_micro()

    async def start(self) -> None: ...
    async def close(self) -> None: ...


def slow(plane: DataPlane) -> tuple[Waiting, MemoryCounterStore]:
    """Put a store that waits before the real one."""
    real = plane.ports.counters
    assert isinstance(real, MemoryCounterStore)
    plane.ports.counters = waiting = Waiting(real)
    return waiting, real


async def test_what_is_not_reserved_waits_and_its_sender_too(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 10)
    waiting, real = slow(plane)
    (connection,) = plane.ports.connections
    await ends.client.send(text(b"one"))
    await plane.until(lambda: waiting.asked)
    await ends.upstream.send(text(b"two"))
    await plane.until(lambda: connection.reading.is_paused)  # type: ignore[attr-defined]
    assert ends.upstream.silent()
    assert ends.client.silent()

    waiting.may_answer.set()

    assert await ends.upstream.exactly(len(text(b"one")))
    assert await ends.client.exactly(len(text(b"two")))
    assert waiting.asked == 1
    plane.ports.counters = real
    await ends.leave()
    assert dc_of(await plane.records(1)) == [2]
    assert await plane.counted() == (2, 2)


@pytest.mark.parametrize("how", ["reset", "drain", "cut"])
async def test_a_slice_that_comes_too_late_is_given_back(
    plane: DataPlane, tmp_path: Path, how: str
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 10)
    waiting, real = slow(plane)
    await ends.up(ping())
    await ends.upstream.send(text(b"held"))
    await plane.until(lambda: waiting.asked)
    (connection,) = plane.ports.connections
    if how == "reset":
        ends.client.reset()
    elif how == "drain":
        connection.go_away(30)  # type: ignore[attr-defined]
        assert await told(ends.client) == (1001, "drain", False)
        ends.client.close()
    else:
        connection.cut()  # type: ignore[attr-defined]
    await plane.deserted()
    ends.upstream.close()
    assert plane.ports.tunnels.open  # the drain waits for what the store says

    waiting.may_answer.set()

    await ends.over()
    (record,) = await plane.records(1)
    assert (record.billable, record.reason, record.charged_micro) == (False, "unused", {"dc": 0})
    plane.ports.counters = real
    assert await plane.counted() == (2, 0)


async def test_what_waited_passes_before_the_end_of_its_sender(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 1)
    waiting, real = slow(plane)
    going, coming = text(b"one") + text(b"two"), text(b"three")
    await ends.client.send(going)
    ends.client.half_close()
    await ends.upstream.send(coming)
    ends.upstream.half_close()
    await plane.until(lambda: waiting.asked)

    waiting.may_answer.set()

    assert await ends.upstream.rest() == going
    assert await ends.client.rest() == coming
    await ends.over()
    plane.ports.counters = real
    assert sum(dc_of(await plane.records(3))) == 3
    assert (await plane.counted())[1] == 3


async def test_without_the_store_a_closed_route_ends_its_tunnels(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 2)
    await ends.up(text(b"one"))
    waiting, real = slow(plane)
    waiting.error = StoreUnavailable("counters.away", "away")
    waiting.may_answer.set()
    await ends.up(text(b"two"))
    await ends.client.send(text(b"three"))

    await closed(ends, 1013, "store_unavailable")

    passed, refused = await plane.records(2)
    assert dc_of([passed]) == [2]
    assert (refused.code, refused.status, refused.billable) == ("store_unavailable", 503, False)
    plane.ports.counters = real
    assert await plane.counted() == (2, 2)


async def test_without_the_store_an_open_route_goes_on_within_its_share(
    plane: DataPlane, tmp_path: Path
) -> None:
    limited(plane, tmp_path, meter("messages", 1, 10), more="on_store_failure: open,")
    ends = await opened(plane)
    waiting, real = slow(plane)
    waiting.error = StoreUnavailable("counters.away", "away")
    waiting.may_answer.set()
    for number in range(4):
        await ends.up(text(b"%d" % number))
    plane.ports.counters = real
    await ends.leave()

    (record,) = await plane.records(1)

    assert record.flags == ["slice", "unenforced"]
    assert record.charged_micro == {"dc": 4 * MICRO}
    assert (await plane.counted())[1] == 4


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_slice_that_can_not_be_recorded_is_given_back_and_ends_it(
    plane: DataPlane, tmp_path: Path, at_once: bool
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 2)
    await ends.up(text(b"one"))
    journal = plane.ports.journal

    class Full(Recorder):
        is_available = False

        def append(self, record: Record, waiter: Waiter) -> None:
            if at_once:
                waiter.release(written=False)
            else:
                plane.ports.loop.call_soon(waiter.release, False)

    plane.ports.journal = Full()
    await ends.client.send(text(b"two"))
    assert await ends.upstream.exactly(len(text(b"two")))

    await closed(ends, 1013, "recording_unavailable")

    plane.ports.journal = journal
    await plane.until(lambda: not plane.ports.stats.worker.tunnels_open)
    await plane.records(0)
    assert (await plane.counted())[1] == 0


async def test_no_slice_is_begun_while_nothing_can_be_recorded(
    plane: DataPlane, tmp_path: Path
) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 2)
    journal = plane.ports.journal

    class Full(Recorder):
        is_available = False

        def append(self, record: Record, waiter: Waiter) -> None:
            raise AssertionError(record)

    plane.ports.journal = Full()
    await ends.client.send(text(b"one"))

    await closed(ends, 1013, "recording_unavailable")

    plane.ports.journal = journal
    assert await plane.counted() == (1, 0)


async def test_a_key_that_is_revoked_ends_with_its_slice(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 1)
    await ends.up(text(b"one"))
    directory = plane.ports.keys

    class Revoked(KeyDirectory):
        def known(self, key_hash: bytes) -> KeyEntry | None:
            entry = directory.known(key_hash)
            return entry and replace(entry, revoked_at_micro=1, compiled=None)

    plane.ports.keys = Revoked()
    await ends.client.send(text(b"two"))

    await closed(ends, 1008, "key_revoked")

    plane.ports.keys = directory
    passed, refused = await plane.records(2)
    assert dc_of([passed]) == [1]
    assert (refused.code, refused.status) == ("key_revoked", 401)


async def test_a_route_that_is_gone_goes_on_for_its_tunnels(
    plane: DataPlane, tmp_path: Path
) -> None:
    before = plane.ports.active.snapshot
    ends = await metered(plane, tmp_path, "messages", 1, 1)
    await ends.up(text(b"one"))
    plane.ports.swap(before)

    await ends.up(text(b"two"))

    await ends.leave()
    assert dc_of(await plane.records(2)) == [1, 1]


async def test_who_does_not_take_the_close_is_cut_off(plane: DataPlane, tmp_path: Path) -> None:
    ends = await metered(plane, tmp_path, "messages", 1, 1)
    used(plane, 3030)
    await ends.client.send(text(b"too many"))
    await told(ends.client)

    await plane.advance(CLOSE_SECONDS + 0.1)

    await ends.client.rest()
    await ends.upstream.rest()
    await ends.over()
    await plane.records(1)
