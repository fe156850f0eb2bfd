"""Tries of one run in any order: charged once and billed once if one is billable, else not at all.

Charges, settlements, journal lines, corrections and the ledger are the real ones; when each of them
happens, and how often what is delivered comes, is drawn.
"""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.counters.memory import MemoryCounterStore
from gateway.counters.port import CounterStore
from gateway.counters.redis import RedisCounterStore
from gateway.database.engine import create_engine_for
from gateway.ledger.sql import SqlLedger
from gateway.metering.corrections import correction_of
from gateway.metering.journal_format import decode_record, encode_record, owes_correction
from gateway.proxy.books import _claim_run
from gateway.rules.charge import Charge, ChargeTemplate, Counts
from gateway.rules.charging import amounts, build_template, run_key
from gateway.rules.record import Outcome, Record
from gateway.rules.settlement import billability, settle
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import StoreStats
from tests.metering.journals import record
from tests.support.fake_clock import FakeClock, RunningClock
from tests.support.plans import BILLING, monthly, rpm
from tests.support.redis_server import RedisServer

_numbers = count(1)
LADDERS: Final = (monthly(2000), rpm(600))


@dataclass(frozen=True)
class Try:
    """What one try reserves, what its answer says that it used (None: nothing), how it ends."""

    reserved: int
    used: int | None
    status: int
    outcome: Outcome = Outcome.COMPLETED

    @property
    def is_billable(self) -> bool:
        return billability(BILLING, self.status, self.outcome, repeat=False)[0]

    @property
    def cost(self) -> int:
        return self.reserved if self.used is None else self.used


ENDS: Final = (
    (200, Outcome.COMPLETED),
    (422, Outcome.COMPLETED),
    (200, Outcome.CLIENT_GONE),
    (503, Outcome.COMPLETED),
    (200, Outcome.UPSTREAM_FAILED),
    (0, Outcome.CLIENT_GONE),
)
any_end = st.sampled_from(ENDS)
alike = st.lists(any_end, min_size=1, max_size=5).map(
    lambda ends: [Try(3, None, status, outcome) for status, outcome in ends]
)
unlike = st.lists(
    st.builds(
        lambda reserved, used, end: Try(reserved, used, *end),
        st.integers(1, 9),
        st.none() | st.integers(0, 9),
        any_end,
    ),
    min_size=1,
    max_size=5,
)
orders = st.lists(st.integers(0, 11), max_size=60)


@dataclass
class World:
    """One run in a workspace of its own, in a store and a ledger."""

    store: CounterStore
    ledger: SqlLedger
    tries: list[Try]
    workspace: str = field(default_factory=lambda: f"ws-{next(_numbers)}")
    begun: dict[int, tuple[Charge, Counts]] = field(default_factory=dict)
    ended: dict[int, Record] = field(default_factory=dict)
    owed: list[Record] = field(default_factory=list)
    unshipped: list[Record] = field(default_factory=list)

    @property
    def template(self) -> ChargeTemplate:
        return build_template(LADDERS, self.workspace, self.store.now_micro())

    async def begin(self, number: int) -> None:
        template = self.template
        cost = {"dc": self.tries[number].reserved * MICRO}
        event_id = record(next(_numbers)).event_id
        charge = Charge(
            template,
            amounts(template, cost),
            event_id,
            run_key(self.workspace, "run"),
            self.store.now_micro() // MICRO + 3_888_000,
        )
        self.begun[number] = charge, await self.store.charge(charge)

    def end(self, number: int) -> None:
        one, (charge, counts) = self.tries[number], self.begun[number]
        billable, reason = billability(BILLING, one.status, one.outcome, repeat=counts.repeat)
        settled = settle(
            charge,
            {"dc": one.reserved * MICRO},
            {} if one.used is None else {"dc": one.used * MICRO},
            billable=billable,
            reason=reason,
            repeat=counts.repeat,
            counted=True,
        )
        made = record(
            0,
            event_id=charge.hold_id,
            occurred_at_micro=counts.now_micro,
            workspace_id=self.workspace,
            run_id="run",
            status=one.status,
            outcome=one.outcome.value,
            billable=settled.billable,
            reason=settled.reason,
            repeat=counts.repeat,
            quantities_micro=settled.quantities_micro,
            charged_micro=settled.charged_micro,
            deltas=[[d.key, d.delta_micro, d.expires_at_seconds] for d in settled.deltas],
            run_key=charge.run_key if settled.releases_run else None,
        )
        if counts.repeat and settled.billable:
            _claim_run(made, charge)
        kept = decode_record(encode_record(made)[10:-1])
        self.ended[number] = kept
        self.unshipped.append(kept)
        if owes_correction(kept):
            self.owed.append(kept)

    async def play(self, order: Iterator[int]) -> None:
        """Begin, end and deliver as an order says until all is over."""
        waiting = list(range(len(self.tries)))

        def one_of(number: int) -> int:
            return next(order, 0) % number

        while waiting or len(self.ended) < len(self.tries) or self.owed or self.unshipped:
            running = [n for n in self.begun if n not in self.ended]
            ways = [
                *(["begin"] if waiting else []),
                *(["end"] if running else []),
                *(["correct"] if self.owed else []),
                *(["ship"] if self.unshipped else []),
            ]
            way = ways[one_of(len(ways))]
            if way == "begin":
                await self.begin(waiting.pop(0))
            elif way == "end":
                self.end(running[one_of(len(running))])
            elif way == "correct":
                at = one_of(len(self.owed))
                await self.store.correct([correction_of(self.owed[at])])
                if one_of(3) < 2:  # else it was not acknowledged
                    del self.owed[at]
            else:
                start = one_of(len(self.unshipped))
                batch = self.unshipped[start : start + 1 + one_of(4)]
                self.ledger.append(batch)
                if one_of(3) < 2:  # else the checkpoint was not written
                    self.unshipped = [one for one in self.unshipped if one not in batch]

    async def counted(self) -> tuple[int, ...]:
        """Return DC and requests as the counters hold them."""
        keys = [entry.key for entry in self.template.entries]
        values = await self.store.read(self.workspace, keys)
        assert not any(value % MICRO for value in values)
        return tuple(value // MICRO for value in values)

    def billed(self) -> list[int]:
        """Return what each billed event costs, after checking that all sums say the same."""
        events = self.ledger.events(workspace_id=self.workspace, period=None)
        assert len(events) == len(self.tries)
        costs = [one.charged_micro["dc"] // MICRO for one in events if one.billable]
        assert not any(one.repeat for one in events if one.billable)
        assert not any(one.charged_micro["dc"] for one in events if not one.billable)
        rows = self.ledger.usage(workspace_id=self.workspace, period=None)
        sums = {row.meter: row.charged_micro // MICRO for row in rows}
        assert sums == {"dc": sum(costs), "requests": len(costs)}
        totals = self.ledger.charged_between(0, 2**62, meter="dc")
        mine = [one for one in totals if one.workspace_id == self.workspace]
        assert sum(one.charged_micro for one in mine) == sum(costs) * MICRO
        assert (self.ledger.billing_event(self.workspace, "run") is not None) == bool(costs)
        return costs


@pytest.fixture
def ledger(migrated_sqlite: Path, tmp_path: Path) -> Iterator[SqlLedger]:
    file = tmp_path / "ledger.db"
    shutil.copy(migrated_sqlite, file)
    ledger = SqlLedger(create_engine_for(f"sqlite:///{file}"))
    yield ledger
    ledger.close()


@pytest.fixture(params=["memory", "redis"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where the counters are; empty for memory."""
    if request.param == "memory":
        return ""
    server: RedisServer = request.getfixturevalue("redis_session")
    return server.unix_url


async def play(
    redis_url: str, ledger: SqlLedger, tries: list[Try], order: list[int]
) -> tuple[tuple[int, ...], list[int]]:
    """Return what is counted and what is billed in the end."""
    store: CounterStore = MemoryCounterStore(FakeClock(), stats=StoreStats())
    if redis_url:
        store = RedisCounterStore(
            redis_url, deadline_seconds=5, clock=RunningClock(), stats=StoreStats()
        )
    await store.start()
    try:
        world = World(store, ledger, tries)
        await world.play(iter(order))
        return await world.counted(), world.billed()
    finally:
        await store.close()


in_any_order = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(tries=alike, order=orders)
@in_any_order
def test_a_run_is_charged_and_billed_once_if_one_of_its_tries_is_billable(
    redis_url: str, ledger: SqlLedger, tries: list[Try], order: list[int]
) -> None:
    """A7, T5: whichever of them was charged first, and whichever fails."""
    counted, billed = asyncio.run(play(redis_url, ledger, tries, order))

    is_billable = any(one.is_billable for one in tries)
    assert billed == ([3] if is_billable else [])
    assert counted == (3 if is_billable else 0, len(tries))


@given(tries=unlike, order=orders)
@in_any_order
def test_tries_that_cost_differently_are_charged_what_one_of_them_costs(
    redis_url: str, ledger: SqlLedger, tries: list[Try], order: list[int]
) -> None:
    """D1: if one alone is billable, counter and bill both say what it costs."""
    counted, billed = asyncio.run(play(redis_url, ledger, tries, order))

    costs = [one.cost for one in tries if one.is_billable]
    assert len(billed) == bool(costs)
    assert set(billed) <= set(costs)
    assert counted in {(cost, len(tries)) for cost in costs or [0]}
