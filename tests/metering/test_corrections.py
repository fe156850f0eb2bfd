"""Corrections reach the store exactly once: through outages, restarts and overflow."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.counters.memory import MemoryCounterStore
from gateway.counters.port import CounterStore
from gateway.errors import StoreUnavailable
from gateway.metering import corrections as module
from gateway.metering.corrections import Corrections, correction_of
from gateway.metering.journal import Journal
from gateway.metering.recorder import Callback
from gateway.rules.charge import Charge, Correction, CounterDelta, Counts
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import StoreStats
from tests.metering.journals import FixedClock, journal_in, keep, record, until
from tests.support.charges import around, charge, entry, template

KEY = "usage:{ws_acme}:2026-11"
EXPIRES = 1_806_537_600


class Store(CounterStore):
    """The real memory store behind a door that can be shut, as an outage shuts it."""

    def __init__(self) -> None:
        self._store = MemoryCounterStore(FixedClock(), stats=StoreStats())
        self.is_away = False
        self.forgets_to_answer = False
        self.calls: list[list[str]] = []
        self.seen: list[str] = []

    async def correct(self, corrections: Sequence[Correction]) -> None:
        self.calls.append([correction.hold_id for correction in corrections])
        self.seen.append("correct")
        if self.is_away:
            raise StoreUnavailable("store.unavailable", "away", "")
        await self._store.correct(corrections)
        if self.forgets_to_answer:
            raise StoreUnavailable("store.unavailable", "the answer was lost", "")

    async def charge(self, charge: Charge) -> Counts:
        self.seen.append("charge")
        return await self._store.charge(charge)

    async def read(self, tag: str, keys: Sequence[str]) -> tuple[int, ...]:
        return await self._store.read(tag, keys)

    async def units(self) -> float:
        (value_micro,) = await self.read("ws_acme", [KEY])
        return value_micro / MICRO


def made(folder: Path, store: Store) -> tuple[Journal, Corrections]:
    journal = journal_in(folder)
    return journal, Corrections(store, journal, back_off_seconds=0.002)


async def end(journal: Journal, corrections: Corrections) -> None:
    await corrections.close()
    await journal.close()


def test_a_record_says_what_is_owed() -> None:
    run_key = "idempotency:{ws_acme}:run"
    assert correction_of(record(1, owes=-2, run_key=run_key)) == Correction(
        "ws_acme",
        record(1).event_id,
        (CounterDelta(KEY, -2 * MICRO, EXPIRES),),
        run_key,
        release_run=True,
    )
    assert not correction_of(record(1, owes=1)).release_run
    claiming = record(
        1, owes=2, run_key=run_key, claimed_reason="success", claimed_until_seconds=EXPIRES
    )
    assert correction_of(claiming) == Correction(
        "ws_acme",
        record(1).event_id,
        (CounterDelta(KEY, 2 * MICRO, EXPIRES),),
        run_key,
        claimed_until_seconds=EXPIRES,
    )


def test_without_a_workspace_the_counters_tell_the_hash_slot() -> None:
    """On a route without keys an address's counters are corrected, in the slot they are in."""
    deltas = [["polite:{address-2001:db8::1}:open:2001:db8::1:5", -1_000_000, EXPIRES]]
    assert correction_of(record(1, workspace_id=None, deltas=deltas)).tag == "address-2001:db8::1"
    assert correction_of(record(1, workspace_id=None)).tag == ""


async def test_what_a_record_owes_is_applied_and_acknowledged(tmp_path: Path) -> None:
    """A8: the correction of a settled charge reaches its counter."""
    store = Store()
    journal, corrections = made(tmp_path, store)
    await keep(journal, [record(1, owes=5), record(2), record(3, owes=2)])
    assert await corrections.drain(5)
    assert await store.units() == 7
    assert store.calls == [[record(1).event_id, record(3).event_id]]
    await end(journal, corrections)
    again = journal_in(tmp_path)
    assert again.unacknowledged_count == 0
    await again.close()


async def test_a_refund_precedes_the_charge_that_its_release_sets_going(tmp_path: Path) -> None:
    """N1: the next request of a refunded caller finds what it was told it would."""
    store = Store()
    journal, corrections = made(tmp_path, store)
    done = asyncio.get_running_loop().create_future()

    async def next_request() -> None:
        await store.charge(charge(template(entry("usage", around(FixedClock().now_micro())))))
        done.set_result(None)

    journal.append(
        record(1, owes=-1),
        Callback(lambda _kept: setattr(store, "next", asyncio.ensure_future(next_request()))),
    )
    await done
    assert store.seen == ["correct", "charge"]
    await end(journal, corrections)


async def test_an_outage_delays_corrections_and_loses_none(tmp_path: Path) -> None:
    """C11, D1: the store is away, comes back, and each correction is applied once."""
    store = Store()
    store.is_away = True
    journal, corrections = made(tmp_path, store)
    for number in range(20):
        await keep(journal, [record(number, owes=1)])
    assert not await corrections.drain(0.01)
    assert journal.unacknowledged_count == 20
    store.is_away = False
    assert await corrections.drain(5)
    assert await store.units() == 20
    await end(journal, corrections)


async def test_a_store_that_comes_and_goes_is_not_told_of_each_time(tmp_path: Path) -> None:
    store = Store()
    journal, corrections = made(tmp_path, store)
    with capture_logs() as lines:
        for number in range(3):
            store.is_away = True
            await keep(journal, [record(number, owes=1)])
            assert not await corrections.drain(0.01)
            store.is_away = False
            assert await corrections.drain(5)
    told = [line["event"] for line in lines if line["event"].startswith("corrections.")]
    assert told == ["corrections.store_away", "corrections.store_back"]
    await end(journal, corrections)


async def test_a_lost_answer_does_not_count_twice(tmp_path: Path) -> None:
    """D1: applied, but the answer was lost: sent again, applied once by its hold id."""
    store = Store()
    store.forgets_to_answer = True
    journal, corrections = made(tmp_path, store)
    await keep(journal, [record(1, owes=3)])
    await until(lambda: len(store.calls) > 2)
    store.forgets_to_answer = False
    assert await corrections.drain(5)
    assert await store.units() == 3
    await end(journal, corrections)


async def test_a_restart_replays_what_was_never_acknowledged(tmp_path: Path) -> None:
    """D1, T25: killed between settle and correction: the next start corrects, once."""
    store = Store()
    store.forgets_to_answer = True
    journal, corrections = made(tmp_path, store)
    await keep(journal, [record(number, owes=1) for number in range(600)])
    await until(lambda: store.calls)
    store.is_away = True
    await end(journal, corrections)
    store.is_away = store.forgets_to_answer = False
    journal, corrections = made(tmp_path, store)
    corrections.start(replay=True)
    await keep(journal, [record(1000, owes=1)])
    assert await corrections.drain(5)
    assert await store.units() == 601
    await keep(journal, [record(1001, owes=1)])
    assert await corrections.drain(5)
    assert await store.units() == 602
    await end(journal, corrections)


async def test_a_memory_store_that_was_rebuilt_is_owed_nothing(tmp_path: Path) -> None:
    store = Store()
    store.is_away = True
    journal, corrections = made(tmp_path, store)
    await keep(journal, [record(1, owes=1)])
    await end(journal, corrections)
    store = Store()
    journal, corrections = made(tmp_path, store)
    corrections.start(replay=False)
    assert await corrections.drain(0)
    assert await store.units() == 0
    await end(journal, corrections)


async def test_beyond_the_bound_corrections_wait_in_the_journal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PENDING_MAX", 50)
    store = Store()
    store.is_away = True
    journal, corrections = made(tmp_path, store)
    for number in range(40):
        await keep(journal, [record(number * 10 + each, owes=1) for each in range(10)])
        assert len(corrections._pending) <= 350
    store.is_away = False
    assert await corrections.drain(5)
    assert await store.units() == 400
    await until(lambda: corrections._catching_up is None)
    await keep(journal, [record(999, owes=1)])
    assert await corrections.drain(5)
    assert await store.units() == 401
    await end(journal, corrections)


async def test_refunds_and_released_runs_go_through_the_real_store(tmp_path: Path) -> None:
    """T5: a failed try gives its run id back: 500 then 200 with one run id charges once."""
    store = Store()
    journal, corrections = made(tmp_path, store)
    hold = record(1).event_id
    usage = template(
        entry("usage", around(FixedClock().now_micro()), 10, tag="ws_acme"), tag="ws_acme"
    )
    first = charge(usage, hold=hold, run="run-1")
    await store.charge(first)
    (used,) = usage.entries
    failed = record(
        1, deltas=[[used.key, -MICRO, used.expires_at_seconds]], run_key=first.run_key, status=500
    )
    await keep(journal, [failed])
    assert await corrections.drain(5)
    counts = await store.charge(charge(usage, hold="second", run="run-1"))
    assert (counts.admitted, counts.repeat, counts.after_micro) == (True, False, (MICRO,))
    await end(journal, corrections)


@pytest.mark.parametrize("answers_are_lost", [False, True])
async def test_a_claim_survives_a_kill_whatever_was_taken_before_it(
    tmp_path: Path, answers_are_lost: bool
) -> None:
    """A7, D1: the store is away or its answers are lost, the gateway is killed, all is replayed."""
    store = Store()
    journal, corrections = made(tmp_path, store)
    usage = template(entry("usage", around(FixedClock().now_micro()), tag="ws_acme"), tag="ws_acme")
    first = charge(usage, hold=record(1).event_id, run="run-1")
    repeat = charge(usage, hold=record(2).event_id, run="run-1")
    await store.charge(first)
    assert (await store.charge(repeat)).repeat
    (used,) = usage.entries
    claiming = record(
        2, deltas=[[used.key, 3 * MICRO, EXPIRES]], run_key=first.run_key, repeat=True,
        billable=False, claimed_reason="success", claimed_until_seconds=EXPIRES,
    )  # fmt: skip
    failed = record(1, deltas=[[used.key, -MICRO, EXPIRES]], run_key=first.run_key, status=503)
    store.is_away, store.forgets_to_answer = not answers_are_lost, answers_are_lost
    await keep(journal, [claiming])
    await keep(journal, [failed])
    await until(lambda: store.calls)
    await end(journal, corrections)
    store.is_away = store.forgets_to_answer = False
    journal, corrections = made(tmp_path, store)
    assert journal.unacknowledged_count == 2

    corrections.start(replay=True)
    assert await corrections.drain(5)

    assert await store.read("ws_acme", [used.key]) == (3 * MICRO,)
    assert (await store.charge(charge(usage, run="run-1"))).repeat
    await end(journal, corrections)
