"""A setting's value chooses the adapter, and says so in the operator's words when it can't."""

import ast
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mypy import api
from sqlalchemy import text

from gateway.config.loaded import Settings
from gateway.config.settings import load
from gateway.counters.memory import MemoryCounterStore
from gateway.counters.redis import RedisCounterStore
from gateway.database.engine import create_engine_for, reading
from gateway.database.revision import is_current
from gateway.errors import ConfigError, GatewayError
from gateway.keys.cache import CachingKeyDirectory
from gateway.keys.environment import EnvKeyDirectory
from gateway.keys.port import Workspace, WorkspaceStatus
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.metering.carrier import Load
from gateway.metering.journal_format import Position, encode_record
from gateway.metering.journal_segments import Segment
from gateway.process import wiring
from gateway.telemetry.metrics import DirectoryStats, StoreStats
from tests.metering.journals import record
from tests.process.configurations import loaded_in
from tests.support.fake_clock import FakeClock
from tests.support.postgres_server import PostgresServer
from tests.support.pricing_files import changed_pricing

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "policies" / "gateway.yaml"
VARIABLE = "GATEWAY_TEST_KEYS"
KEYS = "version: 1\nworkspaces: []\n"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    loaded = load(POLICIES, environ={}, overrides={})
    url = f"sqlite:///{tmp_path}/data/ledger.db"
    return replace(loaded.settings, data_dir=tmp_path / "data", ledger=url, keys=url)


async def test_counters_are_in_memory_or_in_redis(settings: Settings) -> None:
    clock, stats = FakeClock(), StoreStats()
    memory = wiring.open_store(replace(settings, counters="memory"), clock, stats)
    redis = wiring.open_store(replace(settings, counters="redis://127.0.0.1:1/0"), clock, stats)

    assert isinstance(memory, MemoryCounterStore)
    assert isinstance(redis, RedisCounterStore)
    assert wiring.restorable(memory) is memory
    assert wiring.restorable(redis) is None


def test_a_worker_s_own_share_is_counted_by_the_real_store_s_clock(settings: Settings) -> None:
    clock = FakeClock()
    redis = wiring.open_store(
        replace(settings, counters="redis://127.0.0.1:1/0"), clock, StoreStats()
    )
    local = wiring.open_local_store(redis)
    clock.set(clock.now_micro() + 61_000_000)  # Redis did not step

    assert isinstance(local, MemoryCounterStore)
    assert local.now_micro() == redis.now_micro() != clock.now_micro()


def test_ledger_makes_its_folder_for_the_owner_alone_and_its_schema(settings: Settings) -> None:
    ledger = wiring.open_ledger(settings)

    assert ledger.append([record(1)]) == 1
    ledger.close()
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    engine = create_engine_for(settings.ledger)
    assert is_current(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("days", "apart", "billed"), [((2, 7), 6, 1), ((2, 7), 7, 2), ((60,), 46, 1), ((), 44, 1)]
)
def test_a_run_is_billed_once_for_the_longest_retention_of_all_versions(
    tmp_path: Path, days: tuple[int, ...], apart: int, billed: int
) -> None:
    """A7: as the pricing files say, whatever the version in force says alone."""
    versions = [
        changed_pricing(
            tmp_path, lambda document, n=n: document["meter"].update(idempotency_retention_days=n)
        )
        for n in days
    ]
    loaded = loaded_in(tmp_path)
    loaded = replace(loaded, snapshot=replace(loaded.snapshot, pricings=tuple(versions)))
    later = record(1).occurred_at_micro + apart * 86_400 * 1_000_000
    records = [record(1, run_id="r"), record(2, run_id="r", occurred_at_micro=later)]
    path = tmp_path / "1.journal"
    path.write_bytes(b"".join(encode_record(one) for one in records))
    size = path.stat().st_size
    segment = Segment(1, path, written=size, end=size, is_sealed=True)

    wiring.open_carrier(loaded).carry(Load(tmp_path, [segment], Position(0, 0), limit=2))

    ledger = wiring.open_ledger(loaded.settings)
    events = ledger.events(workspace_id=None, period=None)
    ledger.close()
    assert sum(event.billable for event in events) == billed


def test_a_data_folder_that_can_not_be_made_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(GatewayError) as caught:
        wiring.open_ledger(replace(settings, data_dir=tmp_path / "file" / "data"))

    assert caught.value.code == "data_dir.unwritable"
    assert "--data-dir" in caught.value.hint


def test_registry_and_directory_share_a_database(settings: Settings) -> None:
    registry = wiring.open_registry(settings)
    registry.create_workspace(Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, 0))

    assert isinstance(
        wiring.open_directory(settings, FakeClock(), DirectoryStats()), CachingKeyDirectory
    )
    noted = wiring.note_key_use(settings)
    assert noted is not None
    assert noted.workspace("acme") is not None


def test_only_reports_may_take_as_long_as_they_take(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """What a worker waits for is bounded, by the server where that lives."""
    loaded = loaded_in(tmp_path)
    url = postgres_server.url()
    loaded = replace(loaded, settings=replace(loaded.settings, ledger=url, keys=url))
    directory = wiring.open_directory(loaded.settings, FakeClock(), DirectoryStats())
    engines: list[Any] = [
        wiring.open_ledger(loaded.settings),
        wiring.open_carrier(loaded)._ledger,  # type: ignore[attr-defined]
        directory._source,  # type: ignore[attr-defined]
        wiring.note_key_use(loaded.settings),
    ]
    bounds = []
    for one in engines:
        with reading(one._engine, GatewayError, "x") as connection:
            bounds.append(connection.scalar(text("SHOW statement_timeout")))
        one._engine.dispose()

    assert bounds == ["0", "30s", "5s", "5s"]


async def test_how_long_ago_changes_of_keys_were_seen(settings: Settings, tmp_path: Path) -> None:
    clock = FakeClock()
    cached = wiring.open_directory(settings, clock, DirectoryStats())
    (tmp_path / "keys.yaml").write_text(KEYS)
    by_hand = replace(settings, keys=f"file:{tmp_path}/keys.yaml")
    clock.advance(7)

    assert wiring.feed_age_micro(cached) == 7_000_000
    assert wiring.feed_age_micro(wiring.open_directory(by_hand, clock, DirectoryStats())) == 0
    await cached.close()


@pytest.mark.parametrize("kind", ["file", "env"])
def test_keys_that_are_edited_by_hand_can_be_looked_at_alone(
    kind: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys.yaml").write_text(KEYS)
    monkeypatch.setenv(VARIABLE, KEYS)
    place = f"file:{tmp_path}/keys.yaml" if kind == "file" else f"env:{VARIABLE}"
    by_hand = replace(settings, keys=place)

    registry = wiring.open_registry(by_hand)

    assert registry.workspaces(limit=10) == []
    with pytest.raises(GatewayError) as caught:
        registry.revoke_key("key", at_micro=None)
    assert caught.value.code == "keys.read_only"
    assert wiring.note_key_use(by_hand) is None


def test_keys_can_stand_in_a_file(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text(KEYS)
    named = replace(settings, keys=f"file:{tmp_path}/keys.yaml")

    directory = wiring.open_directory(named, FakeClock(), DirectoryStats())

    assert isinstance(directory, YamlKeyDirectory)


def test_keys_can_stand_in_a_variable(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    named = replace(settings, keys=f"env:{VARIABLE}")
    monkeypatch.setenv(VARIABLE, KEYS)
    directory = wiring.open_directory(named, FakeClock(), DirectoryStats())
    assert isinstance(directory, EnvKeyDirectory)

    monkeypatch.setenv(VARIABLE, "version: 1\nworkspaces: {}\n")
    with pytest.raises(ConfigError):
        wiring.open_directory(named, FakeClock(), DirectoryStats())


def test_a_missing_variable_is_told_by_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)

    with pytest.raises(GatewayError) as caught:
        wiring.open_directory(
            replace(settings, keys=f"env:{VARIABLE}"), FakeClock(), DirectoryStats()
        )

    assert caught.value.code == "keys.variable_missing"
    assert VARIABLE in caught.value.message


def test_a_database_that_is_still_to_be_made_is_named_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(GatewayError) as caught:
        wiring.require_made("sqlite:///data/ledger.db")

    assert caught.value.code == "database.file_missing"
    assert str(tmp_path / "data" / "ledger.db") in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_there_or_is_a_servers_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()

    wiring.require_made(f"sqlite:///{tmp_path}/ledger.db")
    wiring.require_made("postgresql://nobody@127.0.0.1:9/none")


MADE_AS_THEY_ARE = {"ClientSide"}
"""Not abstract: tests of one request make it, which compiled code refuses of an abstract class."""


def unfinished_methods(source: Path) -> list[str]:
    """Return methods that only raise ``NotImplementedError`` and are not abstract."""
    classes = [
        found
        for found in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(found, ast.ClassDef) and found.name not in MADE_AS_THEY_ARE
    ]
    return [
        f"{source.name}: {node.name}"
        for found in classes
        for node in ast.walk(found)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and "raise NotImplementedError" in ast.unparse(node.body[-1])
        and not any("abstractmethod" in ast.unparse(mark) for mark in node.decorator_list)
    ]


def test_what_a_port_leaves_to_its_adapters_is_abstract() -> None:
    """Otherwise the type checker lets an adapter pass that lacks a method."""
    sources = Path(wiring.__file__).parents[1].rglob("*.py")

    assert [found for source in sources for found in unfinished_methods(source)] == []


def test_the_type_checker_names_a_method_that_an_adapter_lacks(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(
        "from gateway.counters.port import CounterStore\n"
        "class Half(CounterStore):\n"
        "    def now_micro(self) -> int:\n"
        "        return 0\n"
        "STORE: CounterStore = Half()\n"
    )

    told, _, code = api.run(
        [
            "--follow-imports=silent",
            "--cache-dir",
            str(tmp_path / "cache"),
            str(tmp_path / "half.py"),
        ]
    )

    assert code == 1
    assert 'Cannot instantiate abstract class "Half"' in told
    assert '"charge"' in told
