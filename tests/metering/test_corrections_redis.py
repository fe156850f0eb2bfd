"""Corrections and a real Redis that stops answering: each is applied once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.counters.redis import RedisCounterStore
from gateway.metering.corrections import Corrections
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import StoreStats
from tests.metering.journals import journal_in, keep, record
from tests.support.fake_clock import RunningClock
from tests.support.redis_server import RedisServer

KEY = "usage:{ws_acme}:2026-11"


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.stop()


async def test_a_stalled_redis_gets_every_correction_once(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """D1, C11: Redis stalls with corrections on their way, the gateway restarts, Redis goes on."""
    expires = RunningClock().now_micro() // MICRO + 3600
    records = [record(each, deltas=[[KEY, MICRO, expires]]) for each in range(300)]

    def store() -> RedisCounterStore:
        return RedisCounterStore(
            redis_server.unix_url, deadline_seconds=0.05, clock=RunningClock(), stats=StoreStats()
        )

    first = store()
    await first.start()
    journal = journal_in(tmp_path)
    corrections = Corrections(first, journal)
    await keep(journal, records[:100])
    assert await corrections.drain(5)
    redis_server.stall()
    await keep(journal, records[100:])
    assert not await corrections.drain(0.2)
    await corrections.close()
    await journal.close()
    await first.close()
    redis_server.resume()
    second = store()
    await second.start()
    journal = journal_in(tmp_path)
    assert journal.unacknowledged_count == 200
    corrections = Corrections(second, journal)
    corrections.start(replay=True)
    assert await corrections.drain(10)
    assert await second.read("ws_acme", [KEY]) == (300 * MICRO,)
    await corrections.close()
    await journal.close()
    await second.close()
