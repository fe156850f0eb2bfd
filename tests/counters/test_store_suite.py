"""What every counter store must do: one suite, all adapters (A4, A5, A7, N1, C11, T1 to T6)."""

import asyncio

import pytest

from gateway.errors import StoreUnavailable
from gateway.rules.charge import Correction, CounterDelta, Entry, StaleTemplate
from gateway.rules.units import COUNT_MAX_MICRO, MICRO
from gateway.rules.windows import Period
from tests.support.charges import charge, entry, giving_back, template
from tests.support.stores import Stored

DAY_SECONDS = 86_400
RUN_SECONDS = 3_888_000
"""45 days (A7)."""


async def test_all_counters_are_added(stored: Stored) -> None:
    month, minute = entry("usage", stored.period, 10), entry("rpm", stored.period, 5)
    counts = await stored.store.charge(charge(template(month, minute), 2_500_000, 1_000_000))

    assert (counts.admitted, counts.repeat) == (True, False)
    assert counts.after_micro == (2_500_000, 1_000_000)
    assert abs(counts.now_micro - stored.store.now_micro()) < MICRO
    assert await stored.store.read("ws", [minute.key, "none:{ws}", month.key]) == (
        1_000_000,
        0,
        2_500_000,
    )


async def test_the_cap_itself_is_admitted_and_one_micro_unit_more_is_not(stored: Stored) -> None:
    full = template(entry("usage", stored.period, 3))

    assert (await stored.store.charge(charge(full, 2_999_999))).admitted
    assert not (await stored.store.charge(charge(full, 2))).admitted
    assert (await stored.store.charge(charge(full, 1))).admitted
    assert not (await stored.store.charge(charge(full, 1))).admitted


async def test_a_refusal_changes_nothing(stored: Stored) -> None:
    """T3: a full dump before and after, for counters that exist and for ones that don't."""
    exhausted = entry("usage", stored.period, 1)
    await stored.store.charge(charge(template(exhausted)))
    fresh, known = entry("new", stored.period, 100), entry("rpm", stored.period, 100)
    await stored.store.charge(charge(template(known)))
    before = stored.dump()

    counts = await stored.store.charge(charge(template(fresh, known, exhausted), run="r1"))

    assert not counts.admitted
    assert counts.after_micro == (0, MICRO, MICRO)
    assert stored.dump() == before


async def test_a_refusal_names_every_counter_that_is_too_full(stored: Stored) -> None:
    """N1: the counts of all entries come back, so that each violated policy can be told."""
    first, second = entry("a", stored.period, 1), entry("b", stored.period, 1)
    await stored.store.charge(charge(template(first, second)))

    assert (await stored.store.charge(charge(template(first, second)))).after_micro == (
        MICRO,
        MICRO,
    )


async def test_a_counter_without_cap_is_counted_and_never_refuses(stored: Stored) -> None:
    unlimited = template(entry("usage", stored.period))

    for _ in range(3):
        assert (await stored.store.charge(charge(unlimited, 9_000_000_000))).admitted
    assert await stored.store.read("ws", [unlimited.entries[0].key]) == (27_000_000_000,)


async def test_a_cap_of_zero_refuses_any_amount(stored: Stored) -> None:
    assert not (await stored.store.charge(charge(template(entry("x", stored.period, 0))))).admitted
    assert stored.dump() == {}


async def test_an_amount_of_zero_passes_an_exhausted_counter_and_creates_none(
    stored: Stored,
) -> None:
    used, unused = entry("used", stored.period, 1), entry("unused", stored.period, 1)
    await stored.store.charge(charge(template(used)))

    counts = await stored.store.charge(charge(template(used, unused), 0, 0))

    assert counts.admitted
    assert counts.after_micro == (MICRO, 0)
    assert set(stored.dump()) == {used.key}


async def test_values_near_the_largest_are_exact(stored: Stored) -> None:
    """Lua computes with doubles: 9e15 micro-units are below 2**53."""
    cap_micro = 9_000_000_000 * MICRO
    large = template(entry("usage", stored.period, cap_micro=cap_micro))

    assert (await stored.store.charge(charge(large, cap_micro - 3))).after_micro == (cap_micro - 3,)
    assert not (await stored.store.charge(charge(large, 4))).admitted
    assert (await stored.store.charge(charge(large, 3))).after_micro == (cap_micro,)
    assert await stored.store.read("ws", [large.entries[0].key]) == (cap_micro,)


async def nearly_full(stored: Stored, full: Entry, room_micro: int) -> None:
    """Bring a counter near the largest count, as a thousand of the largest charges do."""
    expires = full.expires_at_seconds
    steps = [COUNT_MAX_MICRO // 2, COUNT_MAX_MICRO - COUNT_MAX_MICRO // 2 - room_micro]
    deltas = [(CounterDelta(full.key, step, expires),) for step in steps]
    await stored.store.correct(
        [Correction("ws", f"fill-{n}", delta) for n, delta in enumerate(deltas)]
    )


async def test_a_charge_that_can_not_be_counted_adds_nothing(stored: Stored) -> None:
    """A7: all or nothing, also at the end of the store's numbers."""
    minute, full = entry("rpm", stored.period), entry("usage", stored.period)
    await nearly_full(stored, full, MICRO)
    before = stored.dump()

    with pytest.raises(StoreUnavailable) as caught:
        await stored.store.charge(charge(template(minute, full), MICRO, 10_000 * MICRO, run="r"))

    assert caught.value.code == "counters.store_error"
    assert stored.dump() == before
    assert (await stored.store.charge(charge(template(minute, full), MICRO, 0, run="r"))).admitted
    refusing = template(entry("day", stored.period, 0), full)
    assert not (await stored.store.charge(charge(refusing, MICRO, 10_000 * MICRO))).admitted
    repeat = charge(template(full), 10_000 * MICRO, run="r")
    assert (await stored.store.charge(repeat)).repeat


async def test_a_correction_that_can_not_be_counted_is_applied_as_far_as_it_can(
    stored: Stored,
) -> None:
    full, other = entry("usage", stored.period), entry("day", stored.period)
    await nearly_full(stored, full, MICRO)
    expires = full.expires_at_seconds
    deltas = tuple(CounterDelta(one.key, 10_000 * MICRO, expires) for one in (full, other))
    for _ in range(2):
        await stored.store.correct([Correction("ws", "more", deltas)])

    counted = await stored.store.read("ws", [full.key, other.key])
    assert counted == (COUNT_MAX_MICRO, 10_000 * MICRO)
    assert stored.expiry(full.key) == expires
    back = CounterDelta(full.key, -MICRO, expires)
    await stored.store.correct([Correction("ws", "back", (back,))])
    assert await stored.store.read("ws", [full.key]) == (COUNT_MAX_MICRO - MICRO,)


async def test_each_counter_has_the_expiry_that_its_entry_says(stored: Stored) -> None:
    """A4, A5, A7: window's end, period's end + 90 days, 3,888,000 s; no counter without (T2)."""
    now, period = stored.now_seconds, stored.period
    end = period.end_micro // MICRO
    rpm = entry("rpm", period, expires_at_seconds=end)
    usage = entry("usage", period, expires_at_seconds=end + 90 * DAY_SECONDS)
    first = charge(template(rpm, usage), run="r1", run_expires_at_seconds=now + RUN_SECONDS)

    await stored.store.charge(first)

    assert first.run_key is not None
    assert {key: expires for key, (_, expires) in stored.dump().items()} == {
        rpm.key: end,
        usage.key: end + 90 * DAY_SECONDS,
        first.run_key: now + RUN_SECONDS,
    }


async def test_later_charges_and_corrections_do_not_move_an_expiry(stored: Stored) -> None:
    """T6: a TTL that is refreshed keeps old periods for ever."""
    period = stored.period
    end = period.end_micro // MICRO
    usage = entry("usage", period, expires_at_seconds=end)
    later = entry("usage", period, expires_at_seconds=end + 500)
    await stored.store.charge(charge(template(usage)))

    held = charge(template(later), 5 * MICRO)
    await stored.store.charge(held)
    deltas = (CounterDelta(usage.key, -MICRO, end + 500), CounterDelta(usage.key, 2, end + 500))
    await stored.store.correct([Correction("ws", held.hold_id, deltas)])

    assert stored.expiry(usage.key) == end


async def test_a_known_run_counts_rates_again_and_quotas_once(stored: Stored) -> None:
    """A7: a retry is forwarded and costs nothing; it is still a request."""
    rpm = entry("rpm", stored.period, 3, counts_repeats=True)
    usage = entry("usage", stored.period, 1)
    both = template(rpm, usage)

    first = await stored.store.charge(charge(both, run="r1"))
    second = await stored.store.charge(charge(both, run="r1"))
    other = await stored.store.charge(charge(both, run="r2"))

    assert (first.admitted, first.repeat, first.after_micro) == (True, False, (MICRO, MICRO))
    assert (second.admitted, second.repeat, second.after_micro) == (True, True, (2 * MICRO, MICRO))
    assert (other.admitted, other.repeat, other.after_micro) == (False, False, (2 * MICRO, MICRO))


async def test_a_repeat_is_refused_by_a_rate_and_changes_nothing(stored: Stored) -> None:
    both = template(entry("rpm", stored.period, 1, counts_repeats=True), entry("u", stored.period))
    await stored.store.charge(charge(both, run="r1"))
    before = stored.dump()

    counts = await stored.store.charge(charge(both, run="r1"))

    assert (counts.admitted, counts.repeat) == (False, True)
    assert counts.after_micro == (MICRO, MICRO)
    assert stored.dump() == before


async def test_a_run_without_counters_is_remembered(stored: Stored) -> None:
    assert not (await stored.store.charge(charge(template(), run="r1"))).repeat
    assert (await stored.store.charge(charge(template(), run="r1"))).repeat


async def test_fifty_copies_of_a_run_are_charged_once(stored: Stored) -> None:
    """A7: concurrent requests with one run id."""
    usage = template(entry("usage", stored.period, 10))
    counts = await asyncio.gather(
        *[stored.store.charge(charge(usage, run="same")) for _ in range(50)]
    )

    assert all(count.admitted for count in counts)
    assert sum(count.repeat for count in counts) == 49
    assert await stored.store.read("ws", [usage.entries[0].key]) == (MICRO,)


async def test_a_released_run_may_be_charged_again(stored: Stored) -> None:
    """T5: a failed try does not burn the run id."""
    usage = template(entry("usage", stored.period, 10))
    failed = charge(usage, run="r1")
    await stored.store.charge(failed)
    await stored.store.correct([giving_back(failed, release_run=True)])

    counts = await stored.store.charge(charge(usage, run="r1"))

    assert (counts.admitted, counts.repeat, counts.after_micro) == (True, False, (MICRO,))


async def test_only_the_hold_that_took_a_run_releases_it(stored: Stored) -> None:
    usage = template(entry("usage", stored.period, 10))
    owner, stranger = charge(usage, run="r1"), charge(usage, run="r1")
    await stored.store.charge(owner)

    await stored.store.correct([Correction("ws", stranger.hold_id, (), stranger.run_key, True)])

    assert (await stored.store.charge(charge(usage, run="r1"))).repeat


async def test_a_correction_is_applied_once_per_hold(stored: Stored) -> None:
    usage = template(entry("usage", stored.period, 10))
    held = charge(usage, 5 * MICRO)
    await stored.store.charge(held)
    deltas = (CounterDelta(usage.entries[0].key, -2 * MICRO, stored.now_seconds + 9),)
    correction = Correction("ws", held.hold_id, deltas)

    await stored.store.correct([correction, correction])
    await stored.store.correct([correction])

    assert await stored.store.read("ws", [usage.entries[0].key]) == (3 * MICRO,)


async def test_a_correction_never_takes_a_counter_below_zero(stored: Stored) -> None:
    usage = template(entry("usage", stored.period, 10))
    await stored.store.charge(charge(usage))
    key = usage.entries[0].key

    await stored.store.correct([Correction("ws", "h", (CounterDelta(key, -5 * MICRO, 0),))])

    assert await stored.store.read("ws", [key]) == (0,)
    assert stored.expiry(key) == usage.entries[0].expires_at_seconds


async def test_a_correction_recreates_a_lost_counter_only_to_add(stored: Stored) -> None:
    """A charge that was let through while the store was away is counted afterwards (C11)."""
    expires = stored.now_seconds + 1000
    added = CounterDelta("a:{ws}:p", 3 * MICRO, expires)
    taken = CounterDelta("b:{ws}:p", -3 * MICRO, expires)

    await stored.store.correct([Correction("ws", "h", (added, taken))])

    assert await stored.store.read("ws", [added.key, taken.key]) == (3 * MICRO, 0)
    assert stored.expiry(added.key) == expires
    assert taken.key not in stored.dump()


async def test_hundreds_of_corrections_go_in_one_call(stored: Stored) -> None:
    expires = stored.now_seconds + 1000
    await stored.store.correct(
        [
            Correction("ws", f"h{number}", (CounterDelta("a:{ws}:p", MICRO, expires),))
            for number in range(500)
        ]
    )

    assert await stored.store.read("ws", ["a:{ws}:p"]) == (500 * MICRO,)
    assert stored.stats.corrections == 500


async def test_a_period_that_is_not_now_is_told_and_nothing_is_counted(stored: Stored) -> None:
    """A caller's clock never decides in which period a request is counted (T6)."""
    now_micro = stored.store.now_micro()
    present = entry("present", stored.period)
    for start, end in [(now_micro - 9 * MICRO, now_micro - MICRO), (now_micro + MICRO, 2**52)]:
        outside = entry("outside", Period("q", start, end), expires_at_seconds=end // MICRO + 99)
        with pytest.raises(StaleTemplate) as stale:
            await stored.store.charge(charge(template(present, outside), run="r1"))
        assert abs(stale.value.now_micro - stored.store.now_micro()) < MICRO
    assert stored.dump() == {}


async def test_names_may_hold_any_text(stored: Stored) -> None:
    tag = "ws %d%b 워크스페이스"
    named = template(entry("usage %s", stored.period, 2, tag=tag), tag=tag)

    assert (await stored.store.charge(charge(named, run="run %b é"))).admitted
    assert (await stored.store.charge(charge(named, run="run %b é"))).repeat
    assert await stored.store.read(tag, [named.entries[0].key]) == (MICRO,)


async def test_three_hundred_clients_get_exactly_the_quota_of_fifty(stored: Stored) -> None:
    """T1: between looking and counting there is no gap."""
    stores = [await stored.another() for _ in range(3)]
    usage = template(entry("usage", stored.period, 50), entry("rpm", stored.period, 200))
    counts = await asyncio.gather(
        *[stores[number % 3].charge(charge(usage)) for number in range(300)]
    )

    assert sum(count.admitted for count in counts) == 50
    assert await stored.store.read("ws", [e.key for e in usage.entries]) == (50 * MICRO, 50 * MICRO)


async def test_amounts_that_change_from_call_to_call_are_told_apart(stored: Stored) -> None:
    """An adapter may keep prepared commands on the template; they must follow the amounts."""
    usage = template(entry("usage", stored.period))
    total = 0
    for amount_micro in [*range(1, 60), *range(1, 60)]:
        total += amount_micro
        run = f"r{total}" if amount_micro % 3 == 0 else None
        counts = await stored.store.charge(charge(usage, amount_micro, run=run))
        assert counts.after_micro == (total,)


async def test_a_store_in_use_is_available(stored: Stored) -> None:
    assert stored.store.is_available
    assert stored.stats.is_available == 1


async def test_nothing_to_do_is_done_at_once(stored: Stored) -> None:
    await stored.store.correct([])

    assert await stored.store.read("ws", []) == ()
    assert (await stored.store.charge(charge(template()))).admitted
    assert stored.dump() == {}
