"""Workspaces and keys in both databases: rotation, revocation, and a feed that misses nothing."""

import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import Engine, select, text
from structlog.testing import capture_logs

from gateway.database.engine import create_engine_for
from gateway.database.tables import key_changes
from gateway.errors import DirectoryUnavailable, GatewayError
from gateway.keys import queries
from gateway.keys.cache import CachingKeyDirectory
from gateway.keys.format import generate
from gateway.keys.port import NewKey, PlanUse, Workspace, WorkspaceStatus
from gateway.keys.sql import SqlKeyStore
from gateway.rules.access import key_refusal
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import DirectoryStats
from tests.support.fake_clock import NOW_MICRO, FakeClock

HOUR_MICRO = 3600 * MICRO


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(database: Engine, clock: FakeClock) -> SqlKeyStore:
    store = SqlKeyStore(database, clock)
    store.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, NOW_MICRO))
    return store


def add_key(store: SqlKeyStore, workspace_id: str = "acme") -> NewKey:
    made = generate("test")
    key = NewKey(
        key_id=made.key_id,
        key_hash=made.key_hash,
        prefix=made.prefix,
        workspace_id=workspace_id,
        name="",
        created_at_micro=NOW_MICRO,
        expires_at_micro=None,
        features=None,
        networks=(),
    )
    store.create_key(key)
    return key


def code_of(caught: pytest.ExceptionInfo[GatewayError]) -> str:
    return caught.value.code


def test_a_rotated_key_works_through_its_overlap_and_no_longer(
    store: SqlKeyStore, clock: FakeClock
) -> None:
    """B2, 1.7."""
    old = add_key(store)
    new = add_key(store)
    store.revoke_key(old.key_id, at_micro=NOW_MICRO + HOUR_MICRO)
    entry = store.load(old.key_hash)
    assert entry is not None
    at_micro = [NOW_MICRO, NOW_MICRO + HOUR_MICRO - 1, NOW_MICRO + HOUR_MICRO]
    refused = [
        key_refusal(
            now_micro=now_micro,
            expires_at_micro=entry.expires_at_micro,
            revoked_at_micro=entry.revoked_at_micro,
        )
        is not None
        for now_micro in at_micro
    ]
    assert refused == [False, False, True]
    assert store.load(new.key_hash) is not None


def test_a_planned_end_may_be_moved_an_end_that_has_come_may_not(
    store: SqlKeyStore, clock: FakeClock
) -> None:
    key = add_key(store)
    store.revoke_key(key.key_id, at_micro=NOW_MICRO + HOUR_MICRO)
    moved = store.revoke_key(key.key_id, at_micro=NOW_MICRO + 2 * HOUR_MICRO)
    assert moved.revoked_at_micro == NOW_MICRO + 2 * HOUR_MICRO
    clock.advance(3 * 3600)
    ended = store.revoke_key(key.key_id, at_micro=NOW_MICRO + 9 * HOUR_MICRO)
    assert ended.revoked_at_micro == NOW_MICRO + 2 * HOUR_MICRO


def test_a_key_ends_now_by_the_clock_that_is_behind(database: Engine) -> None:
    """B2: an operator's clock that is ahead by an hour must not leave the key that hour."""
    ahead = FakeClock(time.time_ns() // 1000 + HOUR_MICRO)
    store = SqlKeyStore(database, ahead)
    store.create_workspace(Workspace("other", "STARTER", WorkspaceStatus.ACTIVE, NOW_MICRO))
    key = add_key(store, "other")

    ended = store.revoke_key(key.key_id, at_micro=None)

    assert ended.revoked_at_micro is not None
    told_micro = (
        time.time_ns() // 1000 if database.dialect.name == "postgresql" else ahead.now_micro()
    )
    assert 0 <= told_micro - ended.revoked_at_micro < 60 * MICRO


def test_a_key_is_replaced_whole_or_not_at_all(store: SqlKeyStore) -> None:
    old = add_key(store)
    made = generate()
    new = replace(old, key_id=made.key_id, key_hash=made.key_hash, prefix=made.prefix)
    with pytest.raises(GatewayError) as caught:
        store.replace_key("absent", new, ends_at_micro=None)
    assert code_of(caught) == "key.unknown"
    assert store.key(new.key_id) is None

    ended = store.replace_key(old.key_id, new, ends_at_micro=NOW_MICRO + HOUR_MICRO)

    assert ended == store.key(old.key_id)
    assert ended.revoked_at_micro == NOW_MICRO + HOUR_MICRO
    assert store.load(new.key_hash) is not None


def test_mistakes_have_codes(store: SqlKeyStore) -> None:
    key = add_key(store)
    with pytest.raises(GatewayError) as caught:
        store.create_key(key)
    assert code_of(caught) == "key.exists"
    with pytest.raises(GatewayError) as caught:
        store.create_key(replace(key, key_id="other"))
    assert code_of(caught) == "key.exists"
    with pytest.raises(GatewayError) as caught:
        store.revoke_key("absent", at_micro=0)
    assert code_of(caught) == "key.unknown"
    with pytest.raises(GatewayError) as caught:
        store.update_workspace("absent", plan="X", status=None)
    assert code_of(caught) == "workspace.unknown"
    with pytest.raises(GatewayError) as caught:
        store.create_workspace(Workspace("acme", "X", WorkspaceStatus.ACTIVE, 0))
    assert code_of(caught) == "workspace.exists"
    assert store.workspace("absent") is None


def test_a_workspaces_change_is_announced_for_its_keys_alone(store: SqlKeyStore) -> None:
    store.create_workspace(Workspace("beta", "FREE", WorkspaceStatus.ACTIVE, NOW_MICRO))
    ours = {add_key(store).key_hash for _ in range(3)}
    add_key(store, "beta")
    position = store.feed_end().sequence
    store.update_workspace("acme", plan=None, status=WorkspaceStatus.SUSPENDED)
    changes = store.changes_after(position)
    assert {change.key_hash for change in changes} == ours
    assert [change.sequence for change in changes] == sorted(c.sequence for c in changes)
    store.update_workspace("acme", plan=None, status=None)
    assert len(store.changes_after(position)) == 3


def test_pages_of_workspaces_follow_each_other(store: SqlKeyStore) -> None:
    for name in ("Zeta", "b-1", "b", "b_1"):
        store.create_workspace(Workspace(name, "FREE", WorkspaceStatus.ACTIVE, NOW_MICRO))
    found: list[str] = []
    while page := store.workspaces(limit=2, after=found[-1] if found else ""):
        found += [workspace.workspace_id for workspace in page]
    assert found == sorted(["acme", "Zeta", "b-1", "b", "b_1"])


def test_the_feed_is_kept_for_a_day(store: SqlKeyStore, database: Engine, clock: FakeClock) -> None:
    old = add_key(store)
    position = store.feed_end().sequence
    clock.advance(queries.FEED_KEPT_MICRO / MICRO + 1)
    new = add_key(store)
    with database.connect() as connection:
        kept = connection.scalars(select(key_changes.c.key_hash)).all()
    assert [bytes(key_hash) for key_hash in kept] == [new.key_hash] != [old.key_hash]
    assert store.feed_end().sequence == position + 1


def test_a_slow_writer_can_not_be_overtaken_in_the_feed(
    store: SqlKeyStore, database: Engine
) -> None:
    """On PostgreSQL sequence numbers are drawn before the commit: writers take turns."""
    first, second = add_key(store), add_key(store)
    position = store.feed_end().sequence
    done = threading.Event()

    def revoke_second() -> None:
        SqlKeyStore(database, FakeClock()).revoke_key(second.key_id, at_micro=NOW_MICRO)
        done.set()

    thread = threading.Thread(target=revoke_second)
    with database.begin() as slow:
        store._lock_feed(slow)
        store._announce(slow, first.key_hash)
        thread.start()
        assert not done.wait(0.2)
        assert store.feed_end().sequence == position
    thread.join(10)
    changes = store.changes_after(position)
    assert [change.key_hash for change in changes] == [first.key_hash, second.key_hash]


async def test_revocation_reaches_a_running_cache_with_its_next_look(
    store: SqlKeyStore, clock: FakeClock
) -> None:
    """B2, 1.13: within a second, without a restart; a new key is usable though it was unknown."""
    key = add_key(store)
    directory = CachingKeyDirectory(store, clock=clock, stats=DirectoryStats())
    await directory.start()
    try:
        entry = await directory.find(key.key_hash)
        assert entry is not None
        assert entry.revoked_at_micro is None
        store.revoke_key(key.key_id, at_micro=NOW_MICRO)
        await directory.follow_changes()
        entry = await directory.find(key.key_hash)
        assert entry is not None
        assert entry.revoked_at_micro == NOW_MICRO
    finally:
        await directory.close()


def test_last_uses_of_many_workers_are_one_write_an_hour(store: SqlKeyStore) -> None:
    """T16."""
    key = add_key(store)
    written = []
    for minute in range(0, 150, 10):
        store.touch_keys({key.key_id: NOW_MICRO + minute * 60 * MICRO, "absent": NOW_MICRO})
        written.append(store.keys("acme", limit=1)[0].last_used_at_micro)
    expected = [NOW_MICRO + hours * HOUR_MICRO for hours in (0, 1, 2)]
    assert list(dict.fromkeys(written)) == expected


def test_no_secret_is_anywhere_in_the_database(database: Engine, clock: FakeClock) -> None:
    """B2, 1.9."""
    store = SqlKeyStore(database, clock)
    store.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, NOW_MICRO))
    made = generate()
    store.create_key(NewKey(made.key_id, made.key_hash, made.prefix, "acme", "", 0, None, None, ()))
    with database.connect() as connection:
        for table in ("api_keys", "key_changes", "workspaces"):
            for row in connection.execute(text(f"SELECT * FROM {table}")):
                assert made.secret[len(made.prefix) :] not in repr(tuple(row))


def test_a_database_that_is_away_is_a_directory_unavailable() -> None:
    store = SqlKeyStore(create_engine_for("postgresql://nobody@127.0.0.1:1/none"), FakeClock())
    with pytest.raises(DirectoryUnavailable):
        store.load(b"\0" * 32)
    with pytest.raises(DirectoryUnavailable):
        store.feed_end()


def test_an_id_that_was_written_past_the_gateway_is_no_hash_tag(
    store: SqlKeyStore, database: Engine
) -> None:
    """A brace in it would cut the tag of its counters' keys in two."""
    store.create_workspace(Workspace("good", "P", WorkspaceStatus.ACTIVE, created_at_micro=1))
    key = add_key(store, "good")
    with database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO workspaces (workspace_id, plan, status, created_at_micro) "
            "VALUES ('ac}me', 'P', 'active', 0)"
        )
        connection.exec_driver_sql("UPDATE api_keys SET workspace_id = 'ac}me'")

    with capture_logs() as lines:
        assert store.load(key.key_hash) is None
    assert [line["event"] for line in lines] == ["keys.id_unusable"]


def test_plans_in_use_are_counted(store: SqlKeyStore) -> None:
    assert store.plans_in_use() == (PlanUse("STARTER", 1, "acme"),)
    for name, plan, status in (
        ("b", "PRO", WorkspaceStatus.ACTIVE),
        ("a", "PRO", WorkspaceStatus.SUSPENDED),
        ("c", "FREE", WorkspaceStatus.ACTIVE),
    ):
        store.create_workspace(Workspace(name, plan, status, created_at_micro=1))

    assert store.plans_in_use() == (
        PlanUse("FREE", 1, "c"), PlanUse("PRO", 2, "a"), PlanUse("STARTER", 1, "acme"),
    )  # fmt: skip
