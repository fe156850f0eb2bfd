"""One atomic charge per request; refusals change nothing; what happens without the store."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.config.snapshot import FailurePolicy
from gateway.counters.memory import MemoryCounterStore
from gateway.counters.port import CounterStore
from gateway.errors import StoreUnavailable
from gateway.rules.charge import Charge, Correction, Counts, StaleTemplate
from gateway.rules.units import MICRO
from tests.support.data_plane import DATE, KEY, DataPlane, answered
from tests.support.fake_clock import NOW_MICRO, FakeClock

GET = b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
USAGE = "usage:{acme}:2025-11"
FAR_SECONDS = 4_000_000_000


def used(plane: DataPlane, dc: int) -> None:
    """Let the workspace have used so much of its quota."""
    assert isinstance(plane.ports.counters, MemoryCounterStore)
    (key,) = [key for key in plane.ports.counters._counters if key.startswith("usage:")] or [USAGE]
    plane.ports.counters.restore(key, dc * MICRO, FAR_SECONDS)


async def passes(plane: DataPlane, request: bytes = GET) -> str:
    """Send a request that must pass; return its RateLimit field."""
    client = await plane.client(request)
    if plane.idle_count:
        upstream = plane.upstream.wires[-1]
    else:
        upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(OK)
    answer = await answered(client)
    client.close()
    assert answer.status == 200
    await plane.settled(idle=1)
    return b", ".join(answer.values(b"ratelimit")).decode()


async def test_what_is_left_is_told_with_every_answer(plane: DataPlane) -> None:
    assert await passes(plane) == '"rpm";r=599;t=60, "monthly_dc";r=1999;t=907200'
    assert await passes(plane) == '"rpm";r=598;t=60, "monthly_dc";r=1998;t=907200'

    assert await plane.counted() == (2, 2)
    assert [record.flags for record in await plane.records(2)] == [[], []]


async def test_overage_and_grace_pass_and_are_flagged(plane: DataPlane) -> None:
    await passes(plane)
    used(plane, 1999)
    await passes(plane)
    used(plane, 2000)
    await passes(plane)
    used(plane, 3000)
    await passes(plane)

    flags = [record.flags for record in await plane.records(4)]

    assert flags == [[], [], ["overage"], ["overage", "grace"]]


async def test_a_refusal_names_its_policy_and_changes_no_counter(plane: DataPlane) -> None:
    await passes(plane)
    used(plane, 3030)
    client = await plane.client(GET)

    answer = await answered(client)

    assert answer.status == 429
    (violated,) = json.loads(answer.body)["violated-policies"]
    assert (violated["limit"], violated["current"]) == (3000, 3031)
    assert answer.values(b"retry-after") == [b"907200"]
    assert await plane.counted() == (1, 3030)
    refused = (await plane.records(2))[1]
    assert (refused.outcome, refused.code, refused.billable) == ("refused", "quota_exceeded", False)
    assert refused.violated == ["hard_overage_cap"]
    assert plane.upstream.is_quiet()


async def test_a_refusal_is_remembered_for_a_moment_and_then_asked_again(plane: DataPlane) -> None:
    await passes(plane)
    used(plane, 3030)
    client = await plane.client(GET)
    assert (await answered(client)).status == 429
    used(plane, 10)
    await client.send(GET)
    assert (await answered(client)).status == 429
    store = plane.ports.stats.store
    assert (store.charges, store.refused, store.refused_locally) == (2, 1, 1)
    await plane.advance(1.1)

    await passes(plane)

    assert (store.charges, store.refused, store.refused_locally) == (3, 1, 1)
    await plane.records(4)


async def test_a_refund_makes_room_at_once(plane: DataPlane) -> None:
    await passes(plane)
    used(plane, 3029)
    first = await plane.client(GET)
    upstream = plane.upstream.wires[-1]
    await upstream.head()
    second = await plane.client(GET)
    assert (await answered(second)).status == 429
    await upstream.send(OK.replace(b"200 OK", b"500 No"))
    assert (await answered(first)).status == 500
    await plane.records(3)
    assert await plane.counted() == (2, 3029)

    await passes(plane)

    await plane.record()


async def test_the_period_of_the_charge_is_the_one_that_the_refund_goes_to(
    plane: DataPlane,
) -> None:
    client, upstream, _ = await plane.asked(GET)
    counters = plane.ports.counters
    assert isinstance(counters, MemoryCounterStore)
    assert [key for key in counters._counters if key.startswith("usage:")] == [USAGE]
    plane.ports.clock.set(1_764_547_201 * MICRO)  # type: ignore[attr-defined]
    await upstream.send(OK.replace(b"200 OK", b"500 No"))
    await answered(client)

    record = await plane.record()

    assert record.period == "2025-11"
    assert [delta[:2] for delta in record.deltas] == [[USAGE, -MICRO]]


class Store(CounterStore):
    """A counter store that fails, at first or always."""

    is_available = False

    def __init__(self, error: Exception, times: int, then: MemoryCounterStore) -> None:
        self._error = error
        self._times = times
        self._then = then
        self.asked = 0

    async def charge(self, charge: Charge) -> Counts:
        self.asked += 1
        if self._times:
            self._times -= 1
            raise self._error
        return await self._then.charge(charge)

    async def correct(self, corrections: Sequence[Correction]) -> None:
        await self._then.correct(corrections)

    async def read(self, tag: str, keys: Sequence[str]) -> tuple[int, ...]:
        return await self._then.read(tag, keys)

    def now_micro(self) -> int:
        return self._then.now_micro()

    async def start(self) -> None: ...
    async def close(self) -> None: ...


def failing(plane: DataPlane, error: Exception, times: int) -> MemoryCounterStore:
    """Put a failing store before the real one, which is returned."""
    real = plane.ports.counters
    assert isinstance(real, MemoryCounterStore)
    plane.ports.counters = Store(error, times, real)
    return real


AWAY = StoreUnavailable("store.away", "away")


async def test_store_away_and_the_route_closed(plane: DataPlane) -> None:
    real = failing(plane, AWAY, 1)
    client = await plane.client(GET)

    answer = await answered(client)

    assert (answer.status, answer.values(b"retry-after")) == (503, [b"1"])
    record = await plane.record()
    assert (record.outcome, record.code) == ("refused", "store_unavailable")
    assert record.deltas == []
    assert not real._counters
    assert plane.upstream.is_quiet()


def fail_open(plane: DataPlane) -> None:
    """Let the keyed route do without the store."""
    plan = plane.ports.active.plans["keyed"]
    plane.ports.active.plans["keyed"] = replace(
        plan, route=replace(plan.route, on_store_failure=FailurePolicy.OPEN)
    )


async def test_store_away_and_the_route_open_passes_within_its_share(plane: DataPlane) -> None:
    snapshot = plane.ports.active.snapshot
    fail_open(plane)
    assert snapshot.local_share_percent == 10
    real = failing(plane, AWAY, 1000)
    local = plane.ports.local_counters
    assert isinstance(local, MemoryCounterStore)

    assert await passes(plane) == ""

    record = await plane.record()
    assert (record.flags, record.billable) == (["unenforced"], True)
    assert plane.ports.stats.store.charges == 0, "the store decided nothing"
    assert [delta[1] for delta in record.deltas] == [MICRO]
    for key in list(local._counters):
        if key.startswith("rpm:"):
            local.restore(key, 60 * MICRO, FAR_SECONDS)
    client = await plane.client(GET)
    assert (await answered(client)).status == 503
    assert (await plane.record()).code == "store_unavailable"
    plane.ports.counters = real
    assert await plane.counted() == (0, 1)


class Silent(Store):
    """A store that is waited for until its deadline."""

    def __init__(self, clock: FakeClock, seconds: float, then: MemoryCounterStore) -> None:
        super().__init__(AWAY, 1000, then)
        self._clock = clock
        self._seconds = seconds

    async def charge(self, charge: Charge) -> Counts:
        self._clock.advance(self._seconds)
        return await super().charge(charge)


async def test_a_period_that_ends_while_the_store_is_waited_for_is_charged_to_the_share(
    plane: DataPlane,
) -> None:
    real, clock = plane.ports.counters, plane.ports.clock
    assert isinstance(real, MemoryCounterStore)
    assert isinstance(clock, FakeClock)
    fail_open(plane)
    clock.set(NOW_MICRO + 59 * MICRO)
    silent = plane.ports.counters = Silent(clock, 2, real)

    assert await passes(plane) == ""

    assert (await plane.record()).flags == ["unenforced"]
    assert silent.asked == 1
    local = plane.ports.local_counters
    assert isinstance(local, MemoryCounterStore)
    minute = NOW_MICRO // MICRO // 60 + 1
    assert [key for key in local._counters if key.startswith("rpm:")] == [f"rpm:{{acme}}:{minute}"]


async def test_a_share_whose_clock_was_put_back_is_planned_anew(plane: DataPlane) -> None:
    clock, local = plane.ports.clock, plane.ports.local_counters
    assert isinstance(clock, FakeClock)
    assert isinstance(local, MemoryCounterStore)
    fail_open(plane)
    failing(plane, AWAY, 1000)
    assert await passes(plane) == ""
    clock.set(NOW_MICRO - 61 * MICRO)

    assert await passes(plane) == ""

    assert [record.flags for record in await plane.records(2)] == [["unenforced"]] * 2
    assert len([key for key in local._counters if key.startswith("rpm:")]) == 2


async def test_a_share_whose_clock_jumps_without_end_is_used_up(plane: DataPlane) -> None:
    fail_open(plane)
    real = failing(plane, AWAY, 1000)
    plane.ports.local_counters = Store(StaleTemplate(NOW_MICRO), 1000, real)
    client = await plane.client(GET)

    assert (await answered(client)).status == 503

    assert (await plane.record()).code == "store_unavailable"
    assert plane.ports.stats.store.stale_templates == 3


async def test_a_period_that_ends_meanwhile_is_planned_anew(plane: DataPlane) -> None:
    real = failing(plane, StaleTemplate(NOW_MICRO), 1)

    assert await passes(plane) == '"rpm";r=599;t=60, "monthly_dc";r=1999;t=907200'

    plane.ports.counters = real
    assert plane.ports.stats.store.stale_templates == 1
    await plane.record()


async def test_a_clock_that_jumps_without_end_is_a_store_that_is_away(plane: DataPlane) -> None:
    real = failing(plane, StaleTemplate(NOW_MICRO), 1000)
    client = await plane.client(GET)

    assert (await answered(client)).status == 503

    plane.ports.counters = real
    assert (await plane.record()).code == "store_unavailable"


@pytest.mark.parametrize("path", [b"/open/a", b"/v1/a"])
async def test_a_route_without_keys_charges_nothing(plane: DataPlane, path: bytes) -> None:
    await passes(plane, GET.replace(b"/v1/a", path))

    assert await plane.counted() == ((0, 0) if path == b"/open/a" else (1, 1))
    await plane.record()


async def refusal(plane: DataPlane) -> tuple[int, int]:
    """Send a request that must be refused; return the limit and for how long."""
    client = await plane.client(GET)
    answer = await answered(client)
    client.close()
    assert answer.status == 429
    (wait,) = answer.values(b"retry-after")
    return json.loads(answer.body)["violated-policies"][0]["limit"], int(wait)


async def test_a_refusal_that_is_repeated_is_the_last_one(plane: DataPlane) -> None:
    """A quota is given back, and the rate is used up, all in one second."""
    client, upstream, _ = await plane.asked(GET)
    used(plane, 3030)
    quota = await refusal(plane)
    assert await refusal(plane) == quota
    used(plane, 5)
    await upstream.send(b"HTTP/1.1 500 X\r\n" + DATE + b"Content-Length: 0\r\n\r\n")
    await answered(client)
    await plane.settled(idle=1)
    counters = plane.ports.counters
    assert isinstance(counters, MemoryCounterStore)
    (rate,) = [key for key in counters._counters if key.startswith("rpm:")]
    counters.restore(rate, 600 * MICRO, FAR_SECONDS)

    assert quota == (3000, 907_200)
    assert [await refusal(plane) for _ in range(3)] == [(600, 60)] * 3
    told = [record.violated[:1] for record in await plane.records(6)]
    assert told == [["hard_overage_cap"]] * 2 + [[]] + [["rpm"]] * 3


async def test_a_refusal_does_not_prolong_itself_by_being_repeated(plane: DataPlane) -> None:
    """However often a caller asks: a quota that others give back is seen within a second."""
    await passes(plane)
    used(plane, 3030)
    await refusal(plane)
    for _ in range(5):
        await plane.advance(0.3)
        await refusal(plane)
    used(plane, 5)
    for _ in range(2):
        await plane.advance(0.3)
        await refusal(plane)

    await plane.advance(0.3)

    await passes(plane)
    await plane.records(10)


async def test_a_refusal_by_a_rate_tells_what_the_quota_has_come_to(plane: DataPlane) -> None:
    """The rate is used up; meanwhile other keys and gateways use up the quota."""
    await passes(plane)
    counters = plane.ports.counters
    assert isinstance(counters, MemoryCounterStore)
    (rate,) = [key for key in counters._counters if key.startswith("rpm:")]
    counters.restore(rate, 600 * MICRO, FAR_SECONDS)
    assert await refusal(plane) == (600, 60)
    used(plane, 3030)
    await plane.advance(1.1)
    client = await plane.client(GET)

    answer = await answered(client)

    assert answer.values(b"retry-after") == [b"907199"]
    assert b'"monthly_dc";r=0' in answer.values(b"ratelimit")[0]
    assert (await plane.records(3))[-1].violated == ["rpm", "hard_overage_cap"]


async def test_a_clock_that_is_put_back_over_the_end_of_a_window(plane: DataPlane) -> None:
    clock = plane.ports.clock
    assert isinstance(clock, FakeClock)
    clock.set(NOW_MICRO + 60 * MICRO)
    await passes(plane)
    clock.set(NOW_MICRO + 59 * MICRO)

    assert (await passes(plane)).startswith('"rpm";r=599;t=1')

    clock.set(NOW_MICRO + 61 * MICRO)
    assert (await passes(plane)).startswith('"rpm";r=598;t=59')
    await plane.records(3)
