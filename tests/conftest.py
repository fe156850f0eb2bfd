"""Fixtures that many tests share; the servers behind them live in tests/support.

With ``GATEWAY_TESTS=compiled`` this process runs the compiled request path instead of its sources.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from gateway import compiled

if os.environ.get("GATEWAY_TESTS") == "compiled":
    assert compiled.use(), "the compiled modules don't fit their sources: make compiled"

from tests.support.redis_server import RedisServer

pytest_plugins = ["tests.support.database_fixtures"]

# On a busy machine an example may take any time; none is a failure for that.
settings.register_profile("any-machine", deadline=None)
# The same examples each time: what comes red is what the change did.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "any-machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs the sources when this process runs the compiled modules."""
    if compiled.is_used():
        for item in items:
            if item.get_closest_marker("sources") is not None:
                item.add_marker(pytest.mark.skip(reason="needs the sources"))


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
