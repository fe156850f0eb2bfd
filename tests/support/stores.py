"""A counter store under test, and what a test sees behind it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.counters.memory import MemoryCounterStore
from gateway.counters.port import CounterStore
from gateway.rules.units import MICRO
from gateway.rules.windows import Period
from gateway.telemetry.metrics import StoreStats
from tests.support.charges import around
from tests.support.fake_clock import FakeClock

DEADLINE_SECONDS = 2.0
"""Generous: these tests are about what is counted, not about how fast."""


@dataclass
class Stored:
    """A store under test, and a look behind it."""

    store: CounterStore
    stats: StoreStats
    dump: Callable[[], dict[str, tuple[object, int]]]
    """Every key with its value and the Unix second at which it expires."""
    another: Callable[[], Awaitable[CounterStore]]
    """Another worker's store over the same counters."""

    @property
    def now_seconds(self) -> int:
        return self.store.now_micro() // MICRO

    @property
    def period(self) -> Period:
        return around(self.store.now_micro())

    def expiry(self, key: str) -> int:
        return self.dump()[key][1]


def stored_in_memory() -> Stored:
    stats = StoreStats()
    store = MemoryCounterStore(FakeClock(), stats=stats)

    def dump() -> dict[str, tuple[object, int]]:
        counters = {
            key: (counter.value_micro, counter.expires_at_micro // MICRO)
            for key, counter in store._counters.items()
        }
        return {**counters, **store._runs._entries}

    async def another() -> CounterStore:
        return store

    return Stored(store, stats, dump, another)
