"""Fixtures that many tests share; the servers behind them live in tests/support."""

from collections.abc import Iterator

import pytest

from tests.support.redis_server import RedisServer

pytest_plugins = ["tests.support.database_fixtures"]


@pytest.fixture(scope="session")
def redis_session() -> Iterator[RedisServer]:
    """One Redis for all tests of this process (under xdist each worker is a process)."""
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def redis_server(redis_session: RedisServer) -> RedisServer:
    """Give the session's Redis, emptied."""
    with redis_session.client() as client:
        client.flushall()
    return redis_session
