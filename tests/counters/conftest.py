"""Every counter store, for the suites that all of them must pass."""

from collections.abc import AsyncIterator

import pytest

from gateway.counters.port import CounterStore
from gateway.counters.redis import RedisCounterStore
from gateway.telemetry.metrics import StoreStats
from tests.support.fake_clock import RunningClock
from tests.support.redis_server import RedisServer
from tests.support.stores import DEADLINE_SECONDS, Stored, stored_in_memory


@pytest.fixture(params=["memory", "redis over TCP", "redis over a Unix socket"])
async def stored(request: pytest.FixtureRequest) -> AsyncIterator[Stored]:
    if request.param == "memory":
        yield stored_in_memory()
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    url = server.url if request.param == "redis over TCP" else server.unix_url
    stats = StoreStats()
    opened: list[RedisCounterStore] = []

    async def another() -> CounterStore:
        store = RedisCounterStore(
            url, deadline_seconds=DEADLINE_SECONDS, clock=RunningClock(), stats=stats
        )
        opened.append(store)
        await store.start()
        return store

    yield Stored(await another(), stats, server.dump, another)
    for store in opened:
        await store.close()
