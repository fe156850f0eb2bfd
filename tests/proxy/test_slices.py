"""What a slice becomes in the books, whatever was used of it: counter and records always agree."""

import random

import pytest

from gateway.config.snapshot import Snapshot, TunnelMeter, TunnelUnit
from gateway.counters.memory import MemoryCounterStore
from gateway.errors import DirectoryUnavailable, Refusal, RefusalCode
from gateway.http.forwarding import ClientOrigin
from gateway.keys.format import hash_secret
from gateway.keys.port import KeyDirectory, KeyEntry
from gateway.proxy.books import Draft
from gateway.proxy.exchange import ClientSide, Exchange
from gateway.proxy.slices import Slices
from gateway.rules.units import MICRO
from tests.support.data_plane import KEY, DataPlane

ORIGIN = ClientOrigin("192.0.2.7", b"192.0.2.7", b"192.0.2.7", b"http")


def slices_of(
    plane: DataPlane, by: TunnelUnit, per_unit: int = 1, units: int = 1, key: str = KEY
) -> Slices:
    handshake = Exchange(ClientSide(plane.ports.loop))
    handshake.event_id = handshake.request_id = "the-handshake"
    handshake.method = b"GET"
    handshake.origin = ORIGIN
    meter = TunnelMeter("dc", by, per_unit, units)
    plan = plane.ports.active.plans["keyed"]
    return Slices(handshake, hash_secret(key.encode()), plan, meter, plane.ports)


async def reserved(slices: Slices) -> Draft:
    draft = slices.begin()
    await slices.reserve(draft)
    return draft


def kept() -> None:
    raise AssertionError("the journal takes everything")


@pytest.mark.parametrize(
    ("by", "per_unit", "units", "ticks"),
    [
        (TunnelUnit.MESSAGES, 3, 2, 6),
        (TunnelUnit.BYTES, 1000, 5, 5000),
        (TunnelUnit.SECONDS, 60, 2, 120 * MICRO),
    ],
)
async def test_a_slice_has_so_many_ticks(
    plane: DataPlane, by: TunnelUnit, per_unit: int, units: int, ticks: int
) -> None:
    assert slices_of(plane, by, per_unit, units).ticks == ticks


@pytest.mark.parametrize("by", list(TunnelUnit))
@pytest.mark.parametrize("seed", range(5))
async def test_what_was_reserved_less_what_is_given_back_is_what_was_used(
    plane: DataPlane, by: TunnelUnit, seed: int
) -> None:
    chance = random.Random(seed)
    expected_micro = 0
    for _ in range(20):
        per_unit, units = chance.choice((1, 3, 7, 1000)), chance.choice((1, 2, 10))
        slices = slices_of(plane, by, per_unit, units)
        used = chance.choice((0, 1, slices.ticks, chance.randint(0, slices.ticks)))
        draft = await reserved(slices)
        slices.settle(draft, used, 3, 4, kept)
        expected_micro += -(-used * units * MICRO // slices.ticks)

    records = await plane.records(20)
    await plane.counted()

    counters = plane.ports.counters
    assert isinstance(counters, MemoryCounterStore)
    (value,) = [
        known.value_micro for key, known in counters._counters.items() if key.startswith("usage:")
    ]
    assert value == expected_micro == sum(record.charged_micro["dc"] for record in records)
    assert plane.ports.stats.worker.tunnel_slices == 20


async def test_a_record_tells_what_it_is(plane: DataPlane) -> None:
    slices = slices_of(plane, TunnelUnit.MESSAGES, 1, 4)
    draft = await reserved(slices)
    slices.settle(draft, 3, 30, 40, kept)

    record = await plane.record()

    assert record.event_id != record.request_id == "the-handshake"
    assert (record.status, record.outcome, record.method) == (101, "completed", "GET")
    assert (record.billable, record.reason, record.flags) == (True, "tunnel", ["slice"])
    assert (record.workspace_id, record.key_id, record.route) == ("acme", "key-1", "keyed")
    assert record.quantities_micro == record.charged_micro == {"dc": 3 * MICRO}
    assert (record.bytes_in, record.bytes_out) == (30, 40)
    assert record.deltas == [["usage:{acme}:2025-11", -MICRO, record.deltas[0][2]]]
    assert record.run_id is None


async def test_an_unused_slice_is_not_billed(plane: DataPlane) -> None:
    slices = slices_of(plane, TunnelUnit.BYTES, 1, 4)
    slices.settle(await reserved(slices), 0, 0, 0, kept)

    record = await plane.record()

    assert (record.billable, record.reason, record.charged_micro) == (False, "unused", {"dc": 0})
    assert (await plane.counted())[1] == 0


async def test_an_unknown_key_gets_no_slice(plane: DataPlane) -> None:
    slices = slices_of(plane, TunnelUnit.BYTES, key="nobody's")
    draft = slices.begin()

    with pytest.raises(Refusal) as caught:
        await slices.reserve(draft)
    slices.refuse(draft, caught.value)

    record = await plane.record()
    assert (record.code, record.status, record.workspace_id) == ("key_invalid", 401, None)
    assert await plane.counted() == (0, 0)
    refused = plane.ports.active.plans["keyed"].route.counters.refused
    assert refused["key_invalid"] >= 1


async def test_without_the_directory_there_is_no_slice(plane: DataPlane) -> None:
    class Away(KeyDirectory):
        def known(self, _key_hash: bytes) -> KeyEntry | None:
            return None

        async def find(self, _key_hash: bytes, _address: str) -> KeyEntry | None:
            raise DirectoryUnavailable("directory.unavailable", "away")

    slices = slices_of(plane, TunnelUnit.BYTES)
    directory = plane.ports.keys
    plane.ports.keys = Away()

    with pytest.raises(Refusal) as caught:
        await reserved(slices)

    plane.ports.keys = directory
    assert caught.value.code is RefusalCode.DIRECTORY_UNAVAILABLE


async def test_the_configuration_in_force_decides(
    plane: DataPlane, plane_snapshot: Snapshot
) -> None:
    slices = slices_of(plane, TunnelUnit.BYTES)
    plane.ports.swap(plane_snapshot)

    draft = slices.begin()

    assert draft.active is plane.ports.active
    assert draft.plan is plane.ports.active.plans["keyed"]
