"""What only the memory store does: stays small, and is rebuilt after a restart."""

import asyncio

from structlog.testing import capture_logs

from gateway.counters.memory import MemoryCounterStore
from gateway.rules.charge import Correction, CounterDelta, Entry
from gateway.rules.units import MICRO
from gateway.rules.windows import Period
from gateway.telemetry.metrics import StoreStats
from tests.support.charges import LADDER, around, charge, entry, template
from tests.support.fake_clock import FakeClock


def memory_store(clock: FakeClock, run_ids_max: int = 1_000) -> MemoryCounterStore:
    return MemoryCounterStore(clock, run_ids_max=run_ids_max, stats=StoreStats())


async def test_memory_stays_flat_over_a_million_addresses_as_minutes_pass() -> None:
    """T14: a counter per address and minute, each address seen once."""
    clock = FakeClock(now_micro=60 * MICRO)
    store = memory_store(clock)
    per_minute, minutes, most = 10_000, 100, 0

    for minute in range(1, minutes + 1):
        clock.set(minute * 60 * MICRO)
        period = Period(str(minute), minute * 60 * MICRO, (minute + 1) * 60 * MICRO)
        for address in range(per_minute):
            key = f"rpm:{{ws}}:{minute}:{address}"
            one = Entry(key, LADDER, period, MICRO, (minute + 1) * 60, counts_repeats=True)
            await store.charge(charge(template(one)))
        most = max(most, len(store._counters))

    # What expired a moment ago goes while the first charges of the next minute come in.
    assert most <= per_minute + 32
    assert len(store._expiring) == len(store._expiries) <= 2


async def test_run_ids_and_correction_marks_go_when_they_expire() -> None:
    """A7: day 46 charges again; nothing is remembered for ever (T14)."""
    clock = FakeClock()
    store = memory_store(clock)
    held = charge(
        template(), run="r1", run_expires_at_seconds=clock.now_micro() // MICRO + 3_888_000
    )
    await store.charge(held)
    await store.correct([Correction("ws", "h1", ())])

    clock.advance(3_887_999)
    assert (await store.charge(held)).repeat
    clock.advance(1)
    assert not (await store.charge(charge(template(), run="r2"))).repeat
    await store.correct([Correction("ws", "h2", ())])

    assert list(store._runs._entries) == ["idempotency:{ws}:r2"]
    assert list(store._corrections._entries) == ["h2"]
    assert not (await store.charge(held)).repeat


async def test_the_oldest_run_is_forgotten_first_and_that_is_said() -> None:
    store = memory_store(FakeClock(), run_ids_max=3)
    with capture_logs() as lines:
        for number in range(5):
            await store.charge(charge(template(), run=f"r{number}"))

    assert list(store._runs._entries) == [f"idempotency:{{ws}}:r{n}" for n in (2, 3, 4)]
    assert store.runs_evicted == 2
    assert [(line["event"], line["kept"]) for line in lines] == [("counters.runs_evicted", 3)]


async def test_marks_of_corrections_are_bounded_too() -> None:
    store = memory_store(FakeClock(), run_ids_max=3)

    with capture_logs() as lines:
        await store.correct([Correction("ws", f"h{number}", ()) for number in range(9)])

    assert len(store._corrections) == 3
    assert [line["event"] for line in lines] == ["counters.corrections_evicted"]


async def test_a_restored_counter_limits_as_if_there_had_been_no_restart() -> None:
    clock = FakeClock()
    store = memory_store(clock)
    usage = entry("usage", around(clock.now_micro()), 50)
    store.restore(usage.key, 49 * MICRO, usage.expires_at_seconds)
    store.restore("old", MICRO, clock.now_micro() // MICRO)

    assert (await store.charge(charge(template(usage)))).admitted
    assert not (await store.charge(charge(template(usage)))).admitted
    assert set(store._counters) == {usage.key}


async def test_restoring_sets_a_counter_and_does_not_add() -> None:
    clock = FakeClock()
    store = memory_store(clock)
    for value_micro in (7, 5):
        store.restore("usage", value_micro, clock.now_micro() // MICRO + 9)

    assert await store.read("ws", ["usage"]) == (5,)


async def test_restored_runs_are_older_than_all_others_and_the_newest_are_kept() -> None:
    """The ledger tells runs newest first; when there is no more room the rest is the oldest."""
    clock = FakeClock()
    store = memory_store(clock, run_ids_max=3)
    later = clock.now_micro() // MICRO + 100
    await store.charge(charge(template(), run="live", run_expires_at_seconds=later))
    live = "idempotency:{ws}:live"

    with capture_logs():
        for name in ("newest", live, "middle", "oldest"):
            store.restore_run(name, "restored", later)
    store.restore_run("expired", "restored", clock.now_micro() // MICRO)

    assert list(store._runs._entries) == ["middle", "newest", live]
    assert store._runs.get(live, 0) != "restored"
    assert store.runs_evicted == 1


async def test_a_counter_ends_at_its_expiry_and_begins_anew() -> None:
    clock = FakeClock()
    store = memory_store(clock)
    soon = clock.now_micro() // MICRO + 10
    usage = template(entry("usage", around(clock.now_micro()), 1, expires_at_seconds=soon))
    assert (await store.charge(charge(usage))).admitted

    clock.advance(9.999_999)
    assert not (await store.charge(charge(usage))).admitted
    clock.advance(0.000_001)
    assert await store.read("ws", [usage.entries[0].key]) == (0,)
    assert (await store.charge(charge(usage, 0))).after_micro == (0,)
    later = template(entry("usage", around(clock.now_micro()), 1, expires_at_seconds=soon + 10))
    assert (await store.charge(charge(later))).after_micro == (MICRO,)


async def test_a_counter_made_anew_outlives_the_purge_of_its_predecessor() -> None:
    clock = FakeClock()
    store = memory_store(clock)
    soon = clock.now_micro() // MICRO + 10
    # More than one purge takes, so that the name below is still listed when it is made anew.
    for number in range(40):
        store.restore(f"x{number}", 1, soon)
    clock.advance(10)
    await store.correct([Correction("ws", "h", (CounterDelta("x0", 7, soon + 10),))])

    for _ in range(3):
        await store.charge(charge(template(entry("other", around(clock.now_micro())))))

    assert await store.read("ws", ["x0"]) == (7,)
    assert len(store._counters) == 2


async def test_a_charge_never_suspends() -> None:
    """It is awaited on the request path: a turn of the loop would cost more than the charge."""
    clock = FakeClock()
    store = memory_store(clock)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.ensure_future(count_turns())
    await asyncio.sleep(0)
    before = turns
    for _ in range(100):
        await store.charge(charge(template(entry("usage", around(clock.now_micro())))))
    assert turns == before
    counter.cancel()
