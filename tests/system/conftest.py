"""One scripted upstream for all stories; a gateway per counter store where it matters."""

from collections.abc import Iterator

import pytest

from tests.support.both_ends import Place, place
from tests.support.redis_server import RedisServer
from tests.support.scripted_upstream import ScriptedUpstream


@pytest.fixture(scope="session")
def upstream_session() -> Iterator[ScriptedUpstream]:
    """One upstream for the session."""
    with ScriptedUpstream().running() as upstream:
        yield upstream


@pytest.fixture
def upstream(upstream_session: ScriptedUpstream) -> ScriptedUpstream:
    """Give the upstream with nothing scripted."""
    upstream_session.reset()
    return upstream_session


@pytest.fixture(scope="module", params=["plain", "tls"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A gateway between both ends, with and without TLS, for all rows of a module."""
    yield from place(tmp_path_factory.mktemp(request.param), tls=request.param == "tls")


@pytest.fixture(params=["memory", "redis"])
def counters(request: pytest.FixtureRequest) -> str:
    """Return each counter store's setting in turn."""
    if request.param == "memory":
        return "memory"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url
