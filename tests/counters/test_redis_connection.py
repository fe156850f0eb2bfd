"""Connecting, logging in, coming back, and knowing early that the server is away (C11)."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.clock import Clock
from gateway.counters.redis_commands import pack
from gateway.counters.redis_connection import BreakerSettings, RedisConnection
from gateway.counters.redis_url import parse_redis_url
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import StoreStats
from tests.support.fake_clock import FakeClock, RunningClock
from tests.support.redis_server import RedisServer, free_port, redis_executable
from tests.support.redis_tls import make_certificate

QUICK = BreakerSettings(
    timeouts=3, pause_seconds=0.02, give_up_seconds=30, connect_seconds=1, reconnect_max_seconds=0.1
)
PATIENCE_SECONDS = 10.0
PING = pack("PING")


@contextmanager
def running(options: Sequence[str] = ()) -> Iterator[RedisServer]:
    """Start a server that this test may mistreat."""
    server = RedisServer(options)
    try:
        yield server.start()
    finally:
        server.stop()


@asynccontextmanager
async def connected(
    url: str, breaker: BreakerSettings = QUICK, clock: Clock | None = None
) -> AsyncIterator[tuple[RedisConnection, StoreStats]]:
    stats = StoreStats()
    connection = RedisConnection(
        parse_redis_url(url),
        deadline_seconds=0.1,
        clock=clock or RunningClock(),
        stats=stats,
        breaker=breaker,
        on_late=lambda _owner, _reply: None,
        on_available=lambda: None,
    )
    await connection.start()
    try:
        yield connection, stats
    finally:
        await connection.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.002)


async def ask(connection: RedisConnection, *words: str) -> object:
    assert connection.link is not None
    return await connection.link.send(pack(*words))


async def test_a_password_is_given_and_never_logged() -> None:
    with running(["--requirepass", "s3cret"]) as server:
        url = server.url.replace("//", "//:s3cret@")
        async with connected(url) as (connection, stats):
            assert await ask(connection, "PING") == b"PONG"
            assert stats.is_available == 1

        wrong = server.url.replace("//", "//:wr0ng@")
        with capture_logs() as lines:
            async with connected(wrong) as (connection, stats):
                assert (connection.link, stats.is_available) == (None, 0)
        assert [line["event"] for line in lines] == ["counters.redis_unreachable"]
        assert lines[0]["reason"].startswith("WRONGPASS")
        assert "wr0ng" not in str(lines)


async def test_a_user_with_just_the_commands_that_are_used_is_enough() -> None:
    """The list that the operations page gives."""
    rights = "+auth +select +evalsha +script|load +time +mget +get +set +incrby +decrby +del"
    user = [
        "--user",
        "gateway",
        "on",
        ">pw",
        "~*",
        *rights.replace("script|load", "script").split(),
    ]
    with running(user) as server:
        url = server.url.replace("//", "//gateway:pw@").replace("/0", "/3")
        async with connected(url) as (connection, _):
            assert await ask(connection, "SET", "key", "1") == b"OK"
        with server.client() as client:
            client.select(3)
            assert client.get("key") == b"1"


def has_tls() -> bool:
    linked = subprocess.run(["ldd", redis_executable()], capture_output=True, check=False).stdout
    return b"libssl" in linked


@pytest.mark.skipif(not has_tls(), reason="this Redis was built without TLS")
async def test_tls_is_spoken_and_the_certificate_is_verified(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    port = free_port()
    options = [
        "--tls-port", str(port), "--tls-auth-clients", "no",
        "--tls-key-file", str(key), "--tls-cert-file", str(certificate),
    ]  # fmt: skip
    with running(options):
        url = f"rediss://localhost:{port}"
        async with connected(f"{url}?ssl_ca_certs={certificate}") as (connection, _):
            assert await ask(connection, "PING") == b"PONG"
        with capture_logs() as lines:
            async with connected(url) as (connection, _):
                assert connection.link is None
        assert lines[0]["error"] == "SSLCertVerificationError"


async def test_a_server_that_is_away_at_start_is_found_when_it_comes() -> None:
    server = RedisServer()
    try:
        with capture_logs() as lines:
            async with connected(server.url) as (connection, stats):
                assert (connection.link, stats.is_available) == (None, 0)
                server.start()
                await until(lambda: connection.link is not None)
                assert (stats.is_available, stats.reconnects) == (1, 0)
        assert [line["event"] for line in lines] == [
            "counters.redis_unreachable",
            "counters.redis_connected",
        ], "an outage is one line, however often it is tried"
    finally:
        server.stop()


async def test_a_server_that_comes_and_goes_is_not_told_of_each_time() -> None:
    """A proxy before a broken Redis takes connections and drops them, many times a second."""
    with running() as server, capture_logs() as lines, server.client() as client:
        async with connected(server.url, clock=FakeClock()) as (connection, stats):
            for cycle in range(6):
                await until(lambda: connection.link is not None)
                client.client_kill_filter(_type="normal", skipme=True)
                await until(lambda count=cycle: stats.reconnects > count)  # type: ignore[misc]
            connection._losses.over()
    assert [line["event"] for line in lines] == [
        *("counters.redis_connected", "counters.redis_lost", "counters.redis_connected"),
        "counters.redis_lost_over",
    ]
    assert lines[-1]["count"] == 6


async def test_a_killed_server_is_noticed_at_once_and_found_again() -> None:
    with running() as server:
        async with connected(server.url) as (connection, stats):
            server.kill()
            await until(lambda: connection.link is None)
            assert stats.is_available == 0

            server.start()
            await until(lambda: connection.link is not None)
            assert await ask(connection, "PING") == b"PONG"
            assert (stats.is_available, stats.reconnects, stats.breaker_opened) == (1, 1, 0)


async def test_timeouts_in_a_row_open_the_breaker_and_a_probe_closes_it() -> None:
    with running() as server:
        async with connected(server.url) as (connection, stats):
            link = connection.link
            assert link is not None
            server.stall()
            await asyncio.gather(link.send(PING), link.send(PING))
            assert connection.link is link, "two of three"
            await link.send(PING)
            assert (connection.link, stats.breaker_opened, stats.is_available) == (None, 1, 0)

            server.resume()
            await until(lambda: connection.link is not None)
            assert connection.link is link, "the connection itself was never lost"
            assert (stats.is_available, stats.reconnects) == (1, 0)


async def test_a_link_that_stays_silent_is_made_anew() -> None:
    """A connection that a firewall dropped looks like a server that is slow, for ever."""
    impatient = BreakerSettings(
        timeouts=1, pause_seconds=0.02, give_up_seconds=0.05, reconnect_max_seconds=0.1
    )
    with running() as server:
        async with connected(server.url, impatient) as (connection, stats):
            link = connection.link
            assert link is not None
            server.stall()
            await link.send(PING)
            await until(lambda: link.is_lost)
            server.resume()
            await until(lambda: connection.link is not None)
            assert connection.link is not link
            assert stats.reconnects == 1


async def test_the_clock_is_the_servers(redis_server: RedisServer) -> None:
    """Gateways with skewed clocks agree, from before their first charge on."""
    wrong = FakeClock(now_micro=RunningClock().now_micro() - 3_600 * MICRO)
    async with connected(redis_server.url, clock=wrong) as (connection, _):
        assert abs(connection.now_micro() - RunningClock().now_micro()) < MICRO
        before = connection.now_micro()
        wrong.advance(5)
        assert connection.now_micro() == before + 5 * MICRO


async def test_closing_twice_or_unstarted_is_harmless(redis_server: RedisServer) -> None:
    async with connected(redis_server.url) as (connection, _):
        await connection.close()
    assert connection.link is None
