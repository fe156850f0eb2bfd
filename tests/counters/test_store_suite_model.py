"""Both stores against the reference model: any sequence of calls, and many clients at once (T1)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.counters.memory import MemoryCounterStore
from gateway.counters.port import CounterStore
from gateway.counters.redis import RedisCounterStore
from gateway.rules.charge import Charge, ChargeTemplate, Correction, CounterDelta, Counts
from gateway.rules.units import MICRO, UNLIMITED
from gateway.telemetry.metrics import StoreStats
from tests.support.charges import around, charge, entry, template
from tests.support.fake_clock import FakeClock, RunningClock
from tests.support.redis_server import RedisServer
from tests.support.reference_model import ReferenceModel

OpenStore = Callable[[], CounterStore]
KINDS = ["memory", "redis"]
NAMES = ("a", "b", "c")

runs_of_examples = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

caps = st.one_of(st.just(UNLIMITED), st.integers(0, 12).map(lambda units: units * MICRO))
amounts = st.sampled_from([0, 1, MICRO // 2, MICRO, 2 * MICRO, 5 * MICRO])


@dataclass(frozen=True)
class Mix:
    """A random mix of limits: per counter its cap and whether repeats count."""

    limits: tuple[tuple[int | object, bool], ...]

    def template(self, now_micro: int) -> ChargeTemplate:
        return template(
            *[
                entry(name, around(now_micro), cap_micro=cap, counts_repeats=repeats)  # type: ignore[arg-type]
                for name, (cap, repeats) in zip(NAMES, self.limits, strict=False)
            ]
        )


mixes = st.lists(st.tuples(caps, st.booleans()), min_size=1, max_size=3).map(
    lambda limits: Mix(tuple(limits))
)
charges = st.tuples(st.just("charge"), st.lists(amounts, min_size=3, max_size=3), st.integers(0, 3))
corrections = st.tuples(
    st.just("correct"),
    st.lists(st.integers(-5, 5), max_size=3),
    st.integers(0, 11),
)
"""How is in the choice: three ways to end, of the last four charges one."""
CLAIMED_UNTIL_SECONDS = 4_000_000_000


@pytest.fixture(params=KINDS)
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Give a maker of stores that share their counters (Redis) or the only one (memory)."""
    if request.param == "memory":
        return lambda: MemoryCounterStore(FakeClock(), stats=StoreStats())
    server: RedisServer = request.getfixturevalue("redis_session")

    return lambda: redis_store(server.unix_url)


@asynccontextmanager
async def started(stores: list[CounterStore]) -> AsyncIterator[list[CounterStore]]:
    """Start the stores and close them whatever happens."""
    try:
        for store in stores:
            await store.start()
        yield stores
    finally:
        for store in stores:
            await store.close()


def redis_store(url: str) -> CounterStore:
    return RedisCounterStore(url, deadline_seconds=2, clock=RunningClock(), stats=StoreStats())


def empty(redis_session: RedisServer) -> None:
    with redis_session.client() as client:
        client.flushdb()


@given(mix=mixes, calls=st.lists(st.one_of(charges, corrections), max_size=30))
@runs_of_examples
def test_any_sequence_of_calls_counts_as_the_model_does(
    open_store: OpenStore,
    redis_session: RedisServer,
    mix: Mix,
    calls: list[tuple[str, list[int], int]],
) -> None:
    async def compare() -> None:
        empty(redis_session)
        async with started([open_store()]) as (store,):
            await replay(store, mix, calls)

    asyncio.run(compare())


async def replay(store: CounterStore, mix: Mix, calls: list[tuple[str, list[int], int]]) -> None:
    """Make the calls one after the other on the store and on the model."""
    model, now_micro = ReferenceModel(), store.now_micro()
    charged = mix.template(now_micro)
    made: list[Charge] = []
    for what, numbers, choice in calls:
        if what == "charge":
            run = f"r{choice}" if choice else None
            last = charge(charged, *numbers[: len(charged.entries)], run=run)
            made.append(last)
            counts = await store.charge(last)
            said = (counts.admitted, counts.repeat, counts.after_micro)
            assert said == model.charge(last, now_micro)
        elif made:
            way, which = choice % 3, choice // 3
            last = made[-1 - which % len(made)]
            deltas = tuple(
                CounterDelta(e.key, delta * MICRO, e.expires_at_seconds)
                for e, delta in zip(charged.entries, numbers, strict=False)
            )
            correction = Correction(
                last.template.tag,
                last.hold_id,
                deltas,
                last.run_key,
                release_run=way == 1,
                claimed_until_seconds=CLAIMED_UNTIL_SECONDS if way == 2 and last.run_key else 0,
            )
            await store.correct([correction])
            model.correct(correction, now_micro)
    keys = [e.key for e in charged.entries]
    expected = tuple(model.value(key, now_micro) for key in keys)
    assert await store.read("ws", keys) == expected


@given(
    mix=mixes,
    clients=st.lists(
        st.lists(st.lists(amounts, min_size=3, max_size=3), min_size=1, max_size=6),
        min_size=2,
        max_size=8,
    ),
)
@runs_of_examples
def test_what_concurrent_clients_are_told_has_an_order_that_the_model_repeats(
    redis_session: RedisServer, mix: Mix, clients: list[list[list[int]]]
) -> None:
    """Admitted calls raise the first counter, so their answers say their order.

    Refused ones must have found one of the states in between, and rightly been refused there.
    """

    async def compare() -> None:
        empty(redis_session)
        async with started([redis_store(redis_session.unix_url) for _ in range(3)]) as stores:
            now_micro = stores[0].now_micro()
            charged = mix.template(now_micro)

            async def client(number: int, calls: list[list[int]]) -> list[tuple[Charge, Counts]]:
                answers = []
                for numbers in calls:
                    # The first counter grows with every charge.
                    amounts_micro = [max(1, numbers[0]), *numbers[1:]][: len(charged.entries)]
                    one = charge(charged, *amounts_micro)
                    answers.append((one, await stores[number % 3].charge(one)))
                return answers

            told = await asyncio.gather(*[client(n, calls) for n, calls in enumerate(clients)])
        check_order(charged, [answer for answers in told for answer in answers], now_micro)

    asyncio.run(compare())


def check_order(
    charged: ChargeTemplate, answers: list[tuple[Charge, Counts]], now_micro: int
) -> None:
    """Replay the admitted charges in the order that their counts tell."""
    admitted = [answer for answer in answers if answer[1].admitted]
    refused = [answer for answer in answers if not answer[1].admitted]
    admitted.sort(key=lambda answer: answer[1].after_micro[0])
    model = ReferenceModel()
    states = [(0,) * len(charged.entries)]
    for one, counts in admitted:
        assert model.charge(one, now_micro) == (True, False, counts.after_micro)
        states.append(counts.after_micro)
    for one, counts in refused:
        assert counts.after_micro in states
        at = ReferenceModel()
        for e, value_micro in zip(charged.entries, counts.after_micro, strict=True):
            if value_micro:
                at.counters[e.key] = (value_micro, e.expires_at_seconds)
        assert at.charge(one, now_micro) == (False, False, counts.after_micro)


@given(limit=st.integers(0, 20), others=st.lists(st.integers(0, 60), max_size=2))
@settings(runs_of_examples, max_examples=15)
def test_admitted_is_exactly_the_smallest_limit(
    redis_session: RedisServer, limit: int, others: list[int]
) -> None:
    """T1, with several workers and any number of limits."""

    async def compare() -> None:
        empty(redis_session)
        async with started([redis_store(redis_session.url) for _ in range(2)]) as stores:
            period = around(stores[0].now_micro())
            caps_of_all = [limit, *others]
            charged = template(*[entry(str(n), period, cap) for n, cap in enumerate(caps_of_all)])
            counts = await asyncio.gather(
                *[stores[number % 2].charge(charge(charged)) for number in range(60)]
            )
        assert sum(count.admitted for count in counts) == min(*caps_of_all, 60)

    asyncio.run(compare())
