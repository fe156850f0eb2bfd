"""One suite over every key directory: file, environment, SQLite, PostgreSQL."""

import asyncio
import hmac
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.errors import ConfigError, GatewayError
from gateway.keys.cache import CachingKeyDirectory
from gateway.keys.environment import EnvKeyDirectory
from gateway.keys.format import NewSecret, generate
from gateway.keys.port import KeyDirectory, NewKey, Workspace, WorkspaceStatus
from gateway.keys.sql import SqlKeyStore
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import DirectoryStats
from tests.support.fake_clock import NOW_MICRO, FakeClock


def new_key(made: NewSecret, **facts: object) -> NewKey:
    given: dict[str, object] = {
        "key_id": made.key_id, "key_hash": made.key_hash, "prefix": made.prefix,
        "workspace_id": "acme", "name": "n", "created_at_micro": NOW_MICRO,
        "expires_at_micro": NOW_MICRO + 5, "features": ("replay",), "networks": ("10.0.0.0/8",),
    }  # fmt: skip
    return NewKey(**{**given, **facts})  # type: ignore[arg-type]


def document(made: NewSecret) -> str:
    return f"""\
version: 1
workspaces:
  - id: acme
    plan: STARTER
    keys:
      - {{id: {made.key_id}, sha256: {made.key_hash.hex()}, prefix: {made.prefix},
         expires_at: "2025-11-20T12:00:00.000005Z", features: [replay], cidrs: [10.0.0.0/8]}}
"""


@pytest.fixture
def made() -> NewSecret:
    return generate("test")


@pytest.fixture
def store(database: Engine) -> SqlKeyStore:
    return SqlKeyStore(database, FakeClock())


@pytest.fixture(params=["file", "env", "sql"])
def directory(request: pytest.FixtureRequest, made: NewSecret, tmp_path: Path) -> KeyDirectory:
    stats = DirectoryStats()
    if request.param == "file":
        (tmp_path / "keys.yaml").write_text(document(made))
        return YamlKeyDirectory(tmp_path / "keys.yaml", stats=stats)
    if request.param == "env":
        return EnvKeyDirectory.parse(document(made), variable="KEYS", stats=stats)
    engine = create_engine_for(f"sqlite:///{tmp_path}/k.db")
    migrate(engine)
    store = SqlKeyStore(engine, FakeClock())
    store.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, NOW_MICRO))
    store.create_key(new_key(made))
    return CachingKeyDirectory(store, clock=FakeClock(), stats=stats)


async def test_every_directory_finds_the_same_entry(
    directory: KeyDirectory, made: NewSecret
) -> None:
    """B2, B3."""
    await directory.start()
    try:
        entry = await directory.find(made.key_hash)
        assert entry is not None
        assert (entry.key_id, entry.workspace_id, entry.plan) == (made.key_id, "acme", "STARTER")
        assert entry.expires_at_micro == NOW_MICRO + 5
        assert entry.features == {"replay"}
        assert [str(network) for network in entry.networks] == ["10.0.0.0/8"]
        assert await directory.find(b"\0" * 32) is None
        assert directory.is_unknown(b"\0" * 32)
        assert not directory.is_unknown(made.key_hash)
    finally:
        await directory.close()


def test_registry_keeps_workspaces_and_keys(store: SqlKeyStore, made: NewSecret) -> None:
    """B2, 1.10: lists show neither secret nor hash; on both databases."""
    store.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, NOW_MICRO))
    store.create_key(new_key(made))

    (described,) = store.keys("acme", limit=10)
    assert described.prefix == made.prefix
    assert made.secret not in repr(described)
    assert made.key_hash.hex() not in repr(described)
    store.revoke_key(made.key_id, at_micro=NOW_MICRO + 7)
    entry = store.load(made.key_hash)
    assert entry is not None
    assert entry.revoked_at_micro == NOW_MICRO + 7
    changed = store.update_workspace("acme", plan="GROWTH", status=WorkspaceStatus.SUSPENDED)
    assert (changed.plan, changed.status) == ("GROWTH", WorkspaceStatus.SUSPENDED)
    assert [w.workspace_id for w in store.workspaces(limit=10)] == ["acme"]
    with pytest.raises(GatewayError):
        store.create_workspace(Workspace("acme", "X", WorkspaceStatus.ACTIVE, NOW_MICRO))
    with pytest.raises(GatewayError):
        store.create_key(new_key(generate(), workspace_id="nobody"))


def test_a_plan_is_known_for_any_instant(store: SqlKeyStore) -> None:
    """A17: bills of past months are made by the plan of then."""
    created_micro = NOW_MICRO - 60 * MICRO
    store.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, created_micro))
    store.update_workspace("acme", plan="SANDBOX", status=None)
    store.update_workspace("acme", plan="GROWTH", status=None)
    store.update_workspace("acme", plan=None, status=WorkspaceStatus.SUSPENDED)

    instants = (created_micro - 1, created_micro, NOW_MICRO - 1, NOW_MICRO)
    assert [store.plan_at("acme", at) for at in instants] == [None, "STARTER", "STARTER", "GROWTH"]
    assert store.plan_at("absent", NOW_MICRO) is None


def test_every_change_is_announced(store: SqlKeyStore, made: NewSecret) -> None:
    store.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, NOW_MICRO))
    before = store.feed_end().sequence
    store.create_key(new_key(made))
    store.revoke_key(made.key_id, at_micro=NOW_MICRO)
    store.update_workspace("acme", plan="GROWTH", status=None)

    news = store.changes_after(before)

    assert len(news) >= 3
    assert {change.key_hash for change in news} == {made.key_hash}
    assert store.changes_after(store.feed_end().sequence) == []


def test_t16_use_is_written_at_most_once_an_hour(store: SqlKeyStore, made: NewSecret) -> None:
    """T16: also when several workers tell it."""
    store.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, NOW_MICRO))
    store.create_key(new_key(made))
    store.touch_keys({made.key_id: NOW_MICRO})
    store.touch_keys({made.key_id: NOW_MICRO + 60_000_000})

    (described,) = store.keys("acme", limit=1)
    assert described.last_used_at_micro == NOW_MICRO


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("version: 2\nworkspaces: []\n", "version"),
        ("version: 1\nworkspaces:\n- {id: a}\n", "plan"),
        ("version: 1\nworkspaces:\n- {id: 'a{b}', plan: X, keys: []}\n", "id"),
        ("version: 1\nworkspaces:\n- {id: a, plan: X, keys: [{id: k, sha256: zz}]}\n", "sha256"),
        ("version: 1\nnonsense: 1\nworkspaces: []\n", "nonsense"),
        ("version: [", ""),
    ],
)
def test_mistakes_in_a_keys_file_are_told_with_their_place(broken: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EnvKeyDirectory.parse(broken, variable="KEYS", stats=DirectoryStats())

    assert told in caught.value.message
    assert all(fault.line >= 1 and fault.column >= 1 for fault in caught.value.faults)


async def test_keys_file_is_read_again_when_it_changes_and_kept_when_it_breaks(
    tmp_path: Path, made: NewSecret
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(document(made))

    async def never(_seconds: float) -> None:
        await asyncio.Event().wait()

    directory = YamlKeyDirectory(path, stats=DirectoryStats(), wait=never)
    await directory.start()
    try:
        other = generate("test")
        path.write_text(document(other))
        assert not await directory.reload_if_changed()
        assert await directory.reload_if_changed()
        assert await directory.find(made.key_hash) is None
        path.write_text("version: [")
        assert not await directory.reload_if_changed()
        assert not await directory.reload_if_changed()
        assert await directory.find(other.key_hash) is not None
    finally:
        await directory.close()


async def test_a_hundred_thousand_keys_are_known(tmp_path: Path) -> None:
    lines = ["version: 1", "workspaces:", "- id: w", "  plan: STARTER", "  keys:"]
    lines += [f"  - {{id: k{n}, sha256: {n:064x}}}" for n in range(100_000)]
    (tmp_path / "keys.yaml").write_text("\n".join(lines))
    directory = YamlKeyDirectory(tmp_path / "keys.yaml", stats=DirectoryStats())
    await directory.start()
    try:
        entry = await directory.find((77_777).to_bytes(32, "big"))
        assert entry is not None
        assert entry.key_id == "k77777"
    finally:
        await directory.close()


async def test_t15_an_entry_is_compared_in_constant_time_before_it_is_handed_out(
    directory: KeyDirectory, made: NewSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T15: by ``hmac.compare_digest``; a cache compares what it takes from its source."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    await directory.start()
    try:
        assert await directory.find(made.key_hash) is not None
    finally:
        await directory.close()

    assert (made.key_hash, made.key_hash) in compared


async def test_t15_the_comparison_decides_and_not_the_index_that_led_to_it(
    directory: KeyDirectory, made: NewSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T15."""
    monkeypatch.setattr(hmac, "compare_digest", lambda _one, _other: False)
    await directory.start()
    try:
        assert await directory.find(made.key_hash) is None
    finally:
        await directory.close()
