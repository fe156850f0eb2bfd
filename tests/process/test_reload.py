"""A3: swapped whole or refused whole, ConfigMap swaps included."""

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config.loaded import Loaded
from gateway.config.settings import load
from gateway.config.snapshot import Snapshot
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.process.loading import load_in_child
from gateway.process.reload import Reloader
from gateway.telemetry.metrics import WorkerStats
from tests.support.pricing_files import write_pricing
from tests.support.redis_tls import make_certificate

TEXT = """\
version: 1
pricing: pricing.json
upstreams: {app: {endpoints: ["http://127.0.0.1:9"]}}
routes:
  - {name: NAME, match: {methods: [GET], path: /}, upstream: app}
"""


class Box:
    """Takes what is put in force."""

    def __init__(self, folder: Path) -> None:
        self.snapshots: list[Snapshot] = []
        self.stats = WorkerStats()
        self.reloader = Reloader(
            load(folder / "gateway.yaml", environ={}, overrides={}),
            {},
            self.snapshots.append,
            self.stats,
        )

    def names(self) -> list[str]:
        return [snapshot.routes[0].name for snapshot in self.snapshots]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    write_pricing(tmp_path / "pricing.json", lambda _: None)
    (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "a"))
    return Box(tmp_path)


async def test_changed_file_is_put_in_force(box: Box, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "b"))

    assert await box.reloader.reload()

    assert box.names() == ["b"]
    assert box.snapshots[0].version == 2
    assert box.stats.reloads == 1


async def test_a_route_goes_on_counting_and_a_new_one_begins(box: Box, tmp_path: Path) -> None:
    counted = box.reloader._loaded.snapshot.routes[0].counters
    counted.requests = 7
    second = "  - {name: b, match: {methods: [POST], path: /}, upstream: app}\n"
    (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "a") + second)
    assert await box.reloader.reload()

    first, other = box.snapshots[0].routes
    assert first.counters is counted  # a request that is under way is counted there, too
    assert other.counters.requests == 0
    other.counters.requests = 3
    (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "b"))
    assert await box.reloader.reload()

    (left,) = box.snapshots[1].routes
    assert (left.name, left.counters.requests) == ("b", 3)


async def test_another_retention_of_runs_is_said_to_need_a_restart(
    box: Box, tmp_path: Path
) -> None:
    """The ledger was opened with the former one."""
    write_pricing(
        tmp_path / "pricing.json",
        lambda document: document["meter"].update(idempotency_retention_days=7),
    )
    with capture_logs() as lines:
        assert await box.reloader.reload()

    (told,) = [line for line in lines if line["event"] == "config.restart_needed"]
    assert told["settings"] == ["idempotency_retention_days"]


async def test_settings_that_need_a_restart_are_named_as_they_are_written(
    box: Box, tmp_path: Path
) -> None:
    text = TEXT.replace("NAME", "a")
    (tmp_path / "gateway.yaml").write_text(
        f"{text}drain: 5s\nforeign_keys: true\nshipper: {{batch: 7}}\njournal: {{max_bytes: 1GB}}\n"
    )
    with capture_logs() as lines:
        assert await box.reloader.reload()

    (told,) = [line for line in lines if line["event"] == "config.restart_needed"]
    assert told["settings"] == ["drain", "foreign_keys", "journal.max_bytes", "shipper.batch"]


async def test_unchanged_file_changes_nothing(box: Box) -> None:
    assert not await box.reloader.reload()
    assert box.snapshots == []


async def test_broken_file_keeps_the_old_one(box: Box, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("version: [")

    assert not await box.reloader.reload()

    assert box.snapshots == []
    assert box.stats.reload_errors == 1


async def test_changed_prices_are_a_change(box: Box, tmp_path: Path) -> None:
    write_pricing(
        tmp_path / "pricing.json", lambda d: d.update(pricing_version="2030-01-01.v9.9.9")
    )

    assert await box.reloader.reload()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_renewed_certificates_make_an_upstream_another(box: Box, tmp_path: Path) -> None:
    """Its connections are made with what the files hold, under whatever name."""
    _, certificate = make_certificate(tmp_path)
    tls = f'endpoints: ["https://127.0.0.1:9"], tls_ca_file: {certificate}'
    text = TEXT.replace('endpoints: ["http://127.0.0.1:9"]', tls)
    (tmp_path / "gateway.yaml").write_text(text.replace("NAME", "a"))
    assert await box.reloader.reload()
    assert not await box.reloader.reload()

    make_certificate(tmp_path)

    assert await box.reloader.reload()
    old, new = (snapshot.upstreams[0] for snapshot in box.snapshots)
    assert old.tls_ca_file == new.tls_ca_file
    assert old != new


async def test_what_can_not_be_put_in_force_leaves_the_old_one(box: Box, tmp_path: Path) -> None:
    swap = box.reloader._swap

    def fails(_snapshot: Snapshot) -> None:
        raise ssl.SSLError("key values mismatch")

    box.reloader._swap = fails
    (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "b"))
    assert not await box.reloader.reload()
    assert (box.stats.reload_errors, box.stats.reloads) == (1, 0)
    assert box.reloader._loaded.snapshot.routes[0].name == "a"

    box.reloader._swap = swap
    assert await box.reloader.reload()
    assert box.names() == ["b"]


@asynccontextmanager
async def watched(reloader: Reloader) -> AsyncIterator[None]:
    watching = asyncio.get_running_loop().create_task(reloader.watch())
    try:
        yield
    finally:
        reloader.close()
        await asyncio.wait_for(watching, 10)


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_what_was_refused_for_a_file_that_was_not_there_is_tried_again(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: new prices may come after the route file that names them, and faults are told once."""
    monkeypatch.setattr("gateway.process.reload.LOOK_MILLISECONDS", 50)
    both = TEXT.replace("pricing: pricing.json", "pricing: [pricing.json, next.json]")
    with capture_logs() as lines:
        async with watched(box.reloader):
            (tmp_path / "gateway.yaml").write_text(both.replace("NAME", "b"))
            await until(lambda: box.stats.reload_errors)
            reads = count_of_reads(monkeypatch)
            await until(lambda: len(reads) > 2)
            write_pricing(
                tmp_path / "next.json",
                lambda d: d.update(
                    pricing_version="2030-01-01.v9.9.9", effective_from="2030-01-01T00:00:00Z"
                ),
            )
            await until(lambda: box.snapshots)

    assert [len(snapshot.pricings) for snapshot in box.snapshots] == [2]
    assert box.stats.reload_errors == 1
    assert [line["event"] for line in lines].count("config.reload_refused") == 1


def count_of_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    reads: list[Path] = []

    def read(path: Path, *others: object) -> Loaded:
        reads.append(path)
        return load_in_child(path, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("gateway.process.reload.load_in_child", read)
    return reads


async def test_without_a_watch_the_files_are_looked_at(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine may be out of inotify instances, or a watched folder be gone for a moment."""

    async def none_left(*_: object, **__: object) -> AsyncIterator[set[object]]:
        raise OSError(24, "Too many open files")
        yield set()

    monkeypatch.setattr("gateway.process.reload.LOOK_MILLISECONDS", 10)
    monkeypatch.setattr("watchfiles.awatch", none_left)
    with capture_logs() as lines:
        async with watched(box.reloader):
            (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "b"))
            await until(lambda: box.snapshots)
            (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "c"))
            await until(lambda: len(box.snapshots) == 2)

    assert box.names() == ["b", "c"]
    assert [line["event"] for line in lines].count("config.not_watched") == 1


async def test_config_map_swap_is_seen(tmp_path: Path) -> None:
    """X9: Kubernetes renames ``..data``; the files themselves are never written."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_pricing(tmp_path / name / "pricing.json", lambda _: None)
        (tmp_path / name / "gateway.yaml").write_text(TEXT.replace("NAME", name))
    (tmp_path / "..data").symlink_to("one")
    for file in ("gateway.yaml", "pricing.json"):
        (tmp_path / file).symlink_to(f"..data/{file}")
    box = Box(tmp_path)
    watching = asyncio.get_running_loop().create_task(box.reloader.watch())
    try:
        for _ in range(100):
            (tmp_path / "..new").symlink_to("two")
            (tmp_path / "..new").rename(tmp_path / "..data")
            await asyncio.sleep(0.05)
            if box.snapshots:
                break
    finally:
        box.reloader.close()
        await asyncio.wait_for(watching, 10)

    assert box.names() == ["two"]


async def test_what_is_on_disk_again_in_force_is_told(box: Box, tmp_path: Path) -> None:
    """Otherwise an alert on the refusal would never clear."""
    good = (tmp_path / "gateway.yaml").read_text()
    (tmp_path / "gateway.yaml").write_text("version: [")
    with capture_logs() as lines:
        assert not await box.reloader.reload()
        assert box.reloader.is_refused
        assert box.stats.reload_refused == 1
        (tmp_path / "gateway.yaml").write_text(good)
        assert not await box.reloader.reload()
        assert not await box.reloader.reload()

    assert not box.reloader.is_refused
    assert box.stats.reload_refused == 0
    assert [line["event"] for line in lines] == ["config.reload_refused", "config.restored"]


async def test_a_configuration_that_a_database_s_workspaces_miss_is_refused(
    box: Box, tmp_path: Path
) -> None:
    def missed(_loaded: Loaded) -> None:
        raise ConfigError([Fault("pricing.json", 1, 1, "tiers", "the plan P is missing")])

    def away(_loaded: Loaded) -> None:
        raise GatewayError("database.unavailable", "the database is away")

    (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "b"))
    for compare, told in ((missed, "the plan P is missing"), (away, "the database is away")):
        box.reloader._compare = compare
        with capture_logs() as lines:
            assert not await box.reloader.reload()
        assert told in str(lines)
        assert box.snapshots == []

    box.reloader._compare = lambda _: None
    assert await box.reloader.reload()
    assert box.stats.reload_refused == 0


async def test_warnings_are_told_at_each_reload(box: Box, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(TEXT.replace("NAME", "b"))
    with capture_logs() as lines:
        assert await box.reloader.reload()

    assert "max_input_tokens" in str([line for line in lines if line["event"] == "config.warning"])


async def test_files_go_by_content_and_not_by_their_times(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    before = file.stat()
    with file.open("r+") as same:
        same.write(TEXT.replace("NAME", "b"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert await box.reloader.reload()
    assert box.names() == ["b"]
