"""What only the Redis store does: deadlines, giving back what came late, lost scripts (C11)."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from structlog.testing import capture_logs

from gateway.counters.redis import (
    CORRECTIONS_PER_WRITE,
    RedisCounterStore,
    _give_back_command,
    _untake_command,
)
from gateway.counters.redis_connection import BreakerSettings
from gateway.errors import GatewayError, StoreUnavailable
from gateway.rules.charge import Charge, Correction, CounterDelta
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import StoreStats
from tests.support.charges import around, charge, entry, giving_back, template
from tests.support.fake_clock import RunningClock
from tests.support.redis_server import RedisServer

DEADLINE_SECONDS = 0.1
QUICK = BreakerSettings(timeouts=3, pause_seconds=0.02, reconnect_max_seconds=0.1)
PATIENCE_SECONDS = 10.0

FAR_SECONDS = 4_000_000_000


@asynccontextmanager
async def opened(
    url: str, deadline_seconds: float = DEADLINE_SECONDS
) -> AsyncIterator[tuple[RedisCounterStore, StoreStats]]:
    stats = StoreStats()
    store = RedisCounterStore(
        url, deadline_seconds=deadline_seconds, clock=RunningClock(), stats=stats, breaker=QUICK
    )
    await store.start()
    try:
        yield store, stats
    finally:
        await store.close()


@contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    """Start a server that this test may mistreat."""
    server = RedisServer(options)
    try:
        yield server.start()
    finally:
        server.stop()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.002)


def charging(store: RedisCounterStore, run: str | None = None) -> Charge:
    """Return a charge of one unit of a quota, and of a rate that repeats count in."""
    period = around(store.now_micro())
    rpm = entry("rpm", period, 50, counts_repeats=True)
    return charge(template(entry("usage", period, 50), rpm), run=run)


def keys_of(charged: Charge) -> list[str]:
    return [e.key for e in charged.template.entries]


async def unavailable(store: RedisCounterStore, charged: Charge) -> str:
    """Return the code of the failure that a charge must meet."""
    with pytest.raises(StoreUnavailable) as refused:
        await store.charge(charged)
    assert refused.value.hint
    return refused.value.code


async def test_a_stalled_store_refuses_within_the_deadline_then_at_once_then_serves_again() -> None:
    """C11: a few milliseconds once, nothing after that, and no operator to bring it back."""
    with running() as server:
        async with opened(server.url) as (store, stats):
            await store.charge(charging(store))
            server.stall()
            began = time.monotonic()
            codes = await asyncio.gather(*[unavailable(store, charging(store)) for _ in range(5)])
            assert time.monotonic() - began < 3 * DEADLINE_SECONDS
            assert codes == ["counters.timeout"] * 5
            assert (stats.timeouts, stats.breaker_opened, store.is_available) == (5, 1, False)

            began = time.monotonic()
            assert await unavailable(store, charging(store)) == "counters.away"
            with pytest.raises(StoreUnavailable):
                await store.read("ws", ["x"])
            with pytest.raises(StoreUnavailable):
                await store.correct([Correction("ws", "h", ())])
            assert time.monotonic() - began < DEADLINE_SECONDS / 4

            server.resume()
            await until(lambda: store.is_available)
            assert (await store.charge(charging(store))).admitted


async def test_a_charge_that_came_late_is_given_back_run_included() -> None:
    """T3: its request was refused with 503, so it changes no counter and burns no run id."""
    with running() as server:
        async with opened(server.url) as (store, stats):
            kept, late = charging(store, "kept"), charging(store, "late")
            await store.charge(kept)
            server.stall()
            assert await unavailable(store, late) == "counters.timeout"
            server.resume()
            await until(lambda: stats.corrections == 1)

            assert await store.read("ws", keys_of(kept)) == (MICRO, MICRO)
            counts = await store.charge(late)
            assert (counts.admitted, counts.repeat) == (True, False)


@pytest.mark.parametrize("is_same_worker", [True, False])
async def test_a_retry_that_overtakes_the_answer_to_a_late_charge_pays_for_its_run(
    is_same_worker: bool,
) -> None:
    """A7: the first was refused with 503, so it is no repeat of it, and one of them is charged."""
    with running() as server:
        async with opened(server.url) as (store, stats), opened(server.url, 5) as (other, _):
            late = charging(store, "same")
            again = charge(late.template, run="same")
            server.stall()
            assert await unavailable(store, late) == "counters.timeout"
            worker = store if is_same_worker else other
            retry = asyncio.get_running_loop().create_task(worker.charge(again))
            await asyncio.sleep(0)
            server.resume()

            counts = await retry
            assert (counts.admitted, counts.repeat) == (True, False)
            await until(lambda: stats.corrections == 1)
            assert await store.read("ws", keys_of(late)) == (MICRO, MICRO)
            assert (await store.charge(charge(late.template, run="same"))).repeat


async def test_a_late_repeat_gives_back_only_what_repeats_count_in() -> None:
    with running() as server:
        async with opened(server.url) as (store, stats):
            first, again = charging(store, "same"), charging(store, "same")
            await store.charge(first)
            server.stall()
            await unavailable(store, again)
            server.resume()
            await until(lambda: stats.corrections == 1)

            assert await store.read("ws", keys_of(first)) == (MICRO, MICRO)
            assert (await store.charge(charging(store, "same"))).repeat, "the run is still taken"


@pytest.mark.parametrize("is_first_answered_late", [True, False])
async def test_a_charge_whose_run_was_claimed_makes_room_for_the_claimants(
    is_first_answered_late: bool,
) -> None:
    """A7: the first was refused with 503, its repeat was served: one charge, one request."""
    with running() as server:
        async with opened(server.url) as (store, stats):
            first, repeat = charging(store, "same"), charging(store, "same")
            await store.charge(first)
            assert (await store.charge(repeat)).repeat
            usage, rpm = (e.key for e in first.template.entries)
            delta = CounterDelta(usage, 3 * MICRO, FAR_SECONDS)
            claim = Correction(
                "ws", repeat.hold_id, (delta,), repeat.run_key, claimed_until_seconds=FAR_SECONDS
            )
            await store.correct([claim])
            if is_first_answered_late:
                store._owe(_give_back_command(first, is_repeat=False))
            store._owe(_untake_command(first))
            await until(lambda: stats.corrections == 2 + is_first_answered_late)

            assert await store.read("ws", [usage, rpm]) == (3 * MICRO, MICRO)
            assert (await store.charge(charging(store, "same"))).repeat


async def test_a_late_refusal_gives_nothing_back() -> None:
    with running() as server:
        async with opened(server.url) as (store, stats):
            full = charge(template(entry("usage", around(store.now_micro()), 1)))
            await store.charge(full)
            server.stall()
            await unavailable(store, charge(full.template))
            server.resume()
            await until(lambda: store.is_available)
            assert await store.read("ws", keys_of(full)) == (MICRO,)
            assert stats.corrections == 0


async def test_what_a_late_charge_is_owed_by_its_request_is_counted_all_the_same() -> None:
    """A route that failed open counts under the hold id: both corrections must be applied."""
    with running() as server:
        async with opened(server.url) as (store, stats):
            late = charging(store)
            server.stall()
            await unavailable(store, late)
            server.resume()
            await until(lambda: stats.corrections == 1)
            usage = late.template.entries[0]
            owed = CounterDelta(usage.key, MICRO, usage.expires_at_seconds)
            await store.correct([Correction("ws", late.hold_id, (owed,))])

            assert await store.read("ws", keys_of(late)) == (MICRO, 0)


async def test_a_caller_that_stops_waiting_is_not_charged(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as (store, stats):
        charged = charging(store)
        waiting = asyncio.ensure_future(store.charge(charged))
        await asyncio.sleep(0)
        waiting.cancel()
        await until(lambda: stats.corrections == 1)

        assert await store.read("ws", keys_of(charged)) == (0, 0)


@pytest.mark.sources  # it changes a constant
async def test_late_charges_that_cannot_be_given_back_are_reported(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.counters.redis.GIVE_BACKS_MAX", 2)
    with capture_logs() as lines:
        async with opened(redis_server.url) as (store, _):
            for _ in range(5):
                store._answered_late(charging(store), [1, 0, 0, 0])
            store._lost.over()
    assert [(line["event"], line.get("count")) for line in lines if "lost" in line["event"]] == [
        ("counters.give_backs_lost", None),
        ("counters.give_backs_lost_over", 3),
        ("counters.give_backs_lost", 2),  # those that still waited when it was closed
    ]


async def test_charges_in_flight_when_the_connection_breaks_are_not_repeated() -> None:
    """Whether they were counted is unknown: once at most, never twice."""
    with running() as server:
        async with opened(server.url, deadline_seconds=5) as (store, stats):
            server.stall()
            waiting = [asyncio.ensure_future(unavailable(store, charging(store))) for _ in range(9)]
            await asyncio.sleep(0.01)
            server.kill()
            assert await asyncio.gather(*waiting) == ["counters.connection_lost"] * 9
            assert (stats.errors, stats.timeouts) == (9, 0)

            server.start()
            await until(lambda: store.is_available)
            charged = charging(store)
            assert (await store.charge(charged)).after_micro == (MICRO, MICRO)


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_run_whose_charge_nobody_heard_of_is_free_again(*, is_told: bool) -> None:
    """A7: Redis counted it while the connection broke; its request was refused, so it is undone."""
    with running() as server:
        deadline_seconds = DEADLINE_SECONDS if is_told else 5
        async with opened(server.url, deadline_seconds) as (store, stats):
            unheard, other = charging(store, "same"), charging(store, "other")
            await store.charge(other)
            server.stall()
            waiting = asyncio.ensure_future(unavailable(store, unheard))
            if is_told:
                assert await waiting == "counters.timeout"
            await asyncio.sleep(0.01)
            assert store._connection._open_link is not None
            store._connection._open_link.abort()
            server.resume()
            code = "counters.timeout" if is_told else "counters.connection_lost"
            assert await waiting == code
            await until(lambda: stats.corrections == 1)

            assert await store.read("ws", keys_of(other)) == (MICRO, MICRO)
            assert (await store.charge(charge(other.template, run="other"))).repeat
            assert not (await store.charge(charge(other.template, run="same"))).repeat


async def test_scripts_that_redis_forgot_are_loaded_again(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as (store, stats):
        with redis_server.client() as client:
            client.script_flush()
        counts = await asyncio.gather(*[store.charge(charging(store)) for _ in range(60)])
        assert sum(count.admitted for count in counts) == 50

        with redis_server.client() as client:
            client.script_flush()
        held = charging(store)
        await store.correct([giving_back(held), giving_back(held)])
        assert await store.read("ws", keys_of(held)) == (49 * MICRO, 49 * MICRO)
        assert (stats.errors, stats.timeouts) == (0, 0)


async def test_a_correction_whose_script_can_not_be_loaded_is_not_taken_for_applied() -> None:
    with running() as server:
        async with opened(server.url) as (store, stats):
            held = charging(store)
            await store.charge(held)
            with server.client() as client:
                client.execute_command("ACL", "SETUSER", "default", "-script|load")
                client.script_flush()
                with pytest.raises(StoreUnavailable):
                    await store.correct([giving_back(held)])
                assert stats.corrections == 0
                client.execute_command("ACL", "SETUSER", "default", "+script|load")
            await store.correct([giving_back(held)])
            assert await store.read("ws", keys_of(held)) == (0, 0)


async def test_an_error_of_the_store_is_told_and_logged(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as (store, stats):
        charged = charging(store)
        with redis_server.client() as client:
            client.set(keys_of(charged)[0], "not a number")
        with capture_logs() as lines:
            assert await unavailable(store, charged) == "counters.store_error"
            correction = Correction("ws", "h", (CounterDelta(keys_of(charged)[0], 1, 0),))
            with pytest.raises(StoreUnavailable):
                await store.correct([correction])
            for _ in range(20):
                assert await unavailable(store, charged) == "counters.store_error"
            store._errors.over()
        assert stats.errors == 22
        *told, over = lines
        assert {line["event"] for line in told} == {"counters.redis_error"}
        assert len(told) == len(over["kinds"]) <= 2, "each kind once"
        assert (over["event"], over["count"]) == ("counters.redis_error_over", 22)


async def test_a_store_that_became_a_replica_is_asked_for_anew() -> None:
    """Behind one name the primary may have moved: READONLY breaks the connection."""
    with running() as server:
        async with opened(server.url) as (store, stats):
            with server.client() as client:
                client.execute_command("REPLICAOF", "127.0.0.1", "1")
                assert await unavailable(store, charging(store)) == "counters.store_error"
                client.execute_command("REPLICAOF", "NO", "ONE")
            await until(lambda: stats.reconnects == 1)
            assert (await store.charge(charging(store))).admitted


async def test_the_charges_of_a_tick_leave_in_one_write(redis_server: RedisServer) -> None:
    async with opened(redis_server.unix_url) as (store, _):
        link = store._connection.link
        assert link is not None
        before = link.writes
        await asyncio.gather(*[store.charge(charging(store)) for _ in range(40)])
        assert link.writes == before + 1

        await store.correct(
            [Correction("ws", f"h{number}", ()) for number in range(CORRECTIONS_PER_WRITE + 1)]
        )
        assert link.writes == before + 3


async def test_a_wrong_url_is_refused_when_the_store_is_made() -> None:
    with pytest.raises(GatewayError):
        RedisCounterStore(
            "redis://host/x", deadline_seconds=1, clock=RunningClock(), stats=StoreStats()
        )


async def test_the_clock_follows_the_answers(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as (store, _):
        store._connection.learn_now(5)
        for _ in range(64):
            counts = await store.charge(charge(template(entry("u", around(_now_micro())))))
        assert abs(store.now_micro() - counts.now_micro) < MICRO


def _now_micro() -> int:
    return RunningClock().now_micro()


class Monitor:
    """What Redis says that it executes (MONITOR), over a connection of its own."""

    def __init__(self, server: RedisServer) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.socket_path))
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"
        self._server = server

    def lines(self) -> list[tuple[bool, list[str]]]:
        """Return (said by a script, words) of all commands so far, and end."""
        with self._server.client() as client:
            client.echo("the end")
        text = b""
        while b'"the end"' not in text:
            text += self._socket.recv(65_536)
        self._socket.close()
        found = []
        for line in text.decode().splitlines()[:-1]:
            words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
            found.append((" lua]" in line, words))
        return [line for line in found if line[1][0].upper() not in {"CLIENT", "ECHO", "HELLO"}]


async def test_each_charge_is_one_evalsha_and_every_key_is_declared(
    redis_server: RedisServer,
) -> None:
    """Design, section 7: Redis Cluster routes by the declared keys; what else is touched breaks."""
    async with opened(redis_server.url) as (store, _):
        monitor = Monitor(redis_server)
        one, repeat = charging(store, "r"), charging(store, "r")
        for charged in (one, repeat, charging(store)):
            await store.charge(charged)
        await store.correct([giving_back(one, release_run=True), giving_back(one)])
    lines = monitor.lines()

    said = [words for is_script, words in lines if not is_script]
    assert [words[0] for words in said] == ["EVALSHA"] * 5
    declared: set[str] = set()
    touched: list[str] = []
    for is_script, words in lines:
        if not is_script:
            declared = set(words[3 : 3 + int(words[2])])
            continue
        if words[0] != "TIME":
            keys = words[1:] if words[0] == "MGET" else words[1:2]
            touched += keys
            assert set(keys) <= declared, words
    assert len(set(touched)) == 4, "two counters, a run, a mark"


async def test_a_cluster_takes_the_keys_of_a_workspace_as_one_slot() -> None:
    with running("--cluster-enabled", "yes") as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    await asyncio.sleep(0.01)
        async with opened(server.url) as (store, _):
            charged = charging(store, "r")
            assert (await store.charge(charged)).admitted
            await store.correct([giving_back(charged, release_run=True)])
            assert await store.read("ws", keys_of(charged)) == (0, 0)


async def test_giving_back_is_tried_until_it_is_acknowledged() -> None:
    with running() as server:
        async with opened(server.url) as (store, stats):
            charged = charging(store)
            await store.charge(charged)
            with server.client() as client:
                client.execute_command("REPLICAOF", "127.0.0.1", "1")
                store._answered_late(charged, [1, 0, 0, 0])
                await until(lambda: stats.errors == 1)
                client.execute_command("REPLICAOF", "NO", "ONE")
            await until(lambda: stats.corrections == 1)
            assert await store.read("ws", keys_of(charged)) == (0, 0)
            assert not store._give_backs
