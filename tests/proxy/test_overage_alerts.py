"""Workspaces above their quotas: told once for each counter and period, however they got there."""

import pytest

from gateway.counters.memory import MemoryCounterStore
from gateway.proxy import charging
from gateway.rules.units import MICRO
from tests.proxy.test_charging import FAR_SECONDS, USAGE, passes, used
from tests.support.data_plane import DATE, KEY, DataPlane, answered


def alerts_of(plane: DataPlane) -> list[tuple[str, str]]:
    """Return what will be told of workspaces above their quotas."""
    told: list[tuple[str, str]] = []
    plane.ports.overage_entered = lambda workspace, policy: told.append((workspace, policy))
    return told


JSON = (
    b"POST /json HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nContent-Length: %d\r\n"
    b"Content-Type: application/json\r\n\r\n%b"
)
SETTLED = b"HTTP/1.1 200 OK\r\n" + DATE + b"X-DC-Used: %d\r\nContent-Length: 2\r\n\r\nok"


async def settles(plane: DataPlane, reserved: int, used_dc: int) -> int:
    """Send a request that reserves so much and uses so much; return its status."""
    body = b'{"n": %d}' % reserved
    client = await plane.client(JSON % (KEY.encode(), len(body), body))
    if reserved < 3030:
        if plane.idle_count:
            upstream = plane.upstream.wires[-1]
        else:
            upstream = await plane.upstream.accept()
        await upstream.head()
        await upstream.exactly(len(body))
        await upstream.send(SETTLED % used_dc)
    answer = await answered(client, b"POST")
    client.close()
    await plane.counted()
    return answer.status


async def test_the_charge_that_enters_overage_is_told_once(plane: DataPlane) -> None:
    told = alerts_of(plane)
    await passes(plane)
    used(plane, 1999)
    await passes(plane)
    assert told == []

    for _ in range(3):
        await passes(plane)

    assert told == [("acme", "monthly_dc")]
    plane.ports.clock.set(1_764_547_201 * MICRO)  # type: ignore[attr-defined]
    await passes(plane)
    counters = plane.ports.counters
    assert isinstance(counters, MemoryCounterStore)
    counters.restore("usage:{acme}:2025-12", 2500 * MICRO, FAR_SECONDS)
    await passes(plane)
    assert told == [("acme", "monthly_dc")] * 2, "it is told of each period"
    await plane.records(7)


async def test_overage_by_settlement_is_told_by_the_next_charge(plane: DataPlane) -> None:
    told = alerts_of(plane)
    assert await settles(plane, 1, 2090) == 200
    assert told == []

    assert await settles(plane, 0, 0) == 200

    assert told == [("acme", "monthly_dc")]
    await plane.records(2)


async def test_overage_by_settlement_is_told_by_a_refusal(plane: DataPlane) -> None:
    told = alerts_of(plane)
    assert await settles(plane, 1, 5000) == 200

    assert await settles(plane, 3030, 0) == 429

    assert told == [("acme", "monthly_dc")]
    await plane.records(2)


async def test_reservations_that_cross_and_are_given_back_are_told_once(plane: DataPlane) -> None:
    told = alerts_of(plane)
    assert await settles(plane, 1000, 1000) == 200

    for _ in range(3):
        assert await settles(plane, 1500, 1) == 200

    assert told == [("acme", "monthly_dc")]
    await plane.records(4)


@pytest.mark.sources  # it replaces a constant
async def test_what_was_told_is_remembered_within_a_bound(
    plane: DataPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charging, "OVERAGES_TOLD_MAX", 2)
    alerts_of(plane)
    plane.ports.overages_told = {"an older one": None, "a younger one": None}
    await passes(plane)
    used(plane, 2000)
    await passes(plane)

    assert list(plane.ports.overages_told) == ["a younger one", USAGE]
    await plane.records(2)
