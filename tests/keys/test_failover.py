"""What is cached of keys when their database fails over: nothing that was revoked goes on."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from gateway.database import postgresql
from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.keys.cache import CachingKeyDirectory
from gateway.keys.format import NewSecret, generate
from gateway.keys.port import NewKey, Workspace, WorkspaceStatus
from gateway.keys.sql import SqlKeyStore
from gateway.telemetry.metrics import DirectoryStats
from tests.support.fake_clock import FakeClock
from tests.support.forwarder import Forwarder
from tests.support.gateway_process import free_port
from tests.support.postgres_server import PostgresServer, running_postgres


@dataclass
class Site:
    """Two servers, what leads to one of them, and engines by their names."""

    old: PostgresServer
    forwarder: Forwarder
    stack: ExitStack

    def engine(self, url: str) -> Engine:
        engine = create_engine_for(url)
        self.stack.callback(engine.dispose)
        return engine

    def store(self, server: PostgresServer) -> SqlKeyStore:
        return SqlKeyStore(self.engine(server.url()), FakeClock())

    def copy(self, *, is_standby: bool = False) -> PostgresServer:
        copy = running_postgres(port=free_port(), copy_of=self.old, is_standby=is_standby)
        return self.stack.enter_context(copy)

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[CachingKeyDirectory]:
        """Give a gateway's cache, which looks at the feed when it is told to."""
        engine = self.engine(self.old.tcp_url(port=self.forwarder.port))
        source = SqlKeyStore(engine, FakeClock())
        found = CachingKeyDirectory(source, clock=FakeClock(), stats=DirectoryStats())
        await found.follow_changes()
        try:
            yield found
        finally:
            await found.close()


@pytest.fixture
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        old = stack.enter_context(running_postgres(port=free_port()))
        forwarder = stack.enter_context(Forwarder(old.port).running())
        site = Site(old, forwarder, stack)
        engine = site.engine(old.url())
        migrate(engine)
        store = SqlKeyStore(engine, FakeClock())
        store.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, 0))
        yield site


def add_key(store: SqlKeyStore) -> NewSecret:
    made = generate()
    store.create_key(NewKey(made.key_id, made.key_hash, made.prefix, "acme", "", 0, None, None, ()))
    return made


async def is_revoked(directory: CachingKeyDirectory, made: NewSecret) -> bool:
    entry = await directory.find(made.key_hash)
    assert entry is not None
    return entry.revoked_at_micro is not None


@pytest.mark.parametrize("lost", [0, 1, 3])
async def test_a_revocation_on_the_new_server_is_seen_wherever_its_feed_stands(
    site: Site, lost: int
) -> None:
    """An asynchronous standby lacks the last changes: its next ones have numbers that were read."""
    old = site.store(site.old)
    key = add_key(old)
    new = site.copy()
    for _ in range(lost):
        add_key(old)
    async with site.directory() as directory:
        assert not await is_revoked(directory, key)
        site.old.demote()
        site.forwarder.target = new.port
        site.store(new).revoke_key(key.key_id, at_micro=1)
        await directory.follow_changes()
        assert await is_revoked(directory, key)


async def test_what_the_new_server_never_had_is_forgotten(site: Site) -> None:
    old = site.store(site.old)
    new = site.copy()
    key = add_key(old)
    async with site.directory() as directory:
        assert not await is_revoked(directory, key)
        site.old.kill()
        site.forwarder.target = new.port
        await directory.follow_changes()
        assert await directory.find(key.key_hash) is None


async def test_an_old_primary_that_does_not_know_it_is_believed_no_longer_than_a_connection_lives(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "CONNECTION_AGE_MAX_SECONDS", 0)  # each is too old already
    key = add_key(site.store(site.old))
    new = site.copy()
    async with site.directory() as directory:
        assert not await is_revoked(directory, key)
        site.forwarder.target = new.port
        site.store(new).revoke_key(key.key_id, at_micro=1)
        await directory.follow_changes()
        assert await is_revoked(directory, key)


async def test_a_standby_that_stands_still_is_no_proof_that_nothing_changed(site: Site) -> None:
    key = add_key(site.store(site.old))
    standby = site.copy(is_standby=True)
    standby.execute("SELECT pg_wal_replay_pause()")
    async with site.directory() as directory:
        assert not await is_revoked(directory, key)
        site.old.kill()
        site.forwarder.target = standby.port
        with capture_logs() as logs:
            await directory.follow_changes()
        (lost,) = [line for line in logs if line["event"] == "keys.feed_lost"]
        assert "target_session_attrs" in lost["hint"]
        assert not await is_revoked(directory, key)  # cached: while its source is away it goes on
        standby.execute("SELECT pg_wal_replay_resume()")
        standby.promote()
        site.store(standby).revoke_key(key.key_id, at_micro=1)
        await directory.follow_changes()
        assert await is_revoked(directory, key)


async def test_last_uses_are_noted_on_the_new_server(site: Site) -> None:
    key = add_key(site.store(site.old))
    new = site.copy()
    registry = SqlKeyStore(site.engine(site.old.tcp_url(port=site.forwarder.port)), FakeClock())
    registry.touch_keys({key.key_id: 1})
    site.old.demote()
    site.forwarder.target = new.port
    registry.touch_keys({key.key_id: 2})
    noted = f"SELECT last_used_at_micro FROM api_keys WHERE key_id = '{key.key_id}'"
    assert (site.old.value(noted), new.value(noted)) == (1, 2)
