"""A keys file is followed through rewrites, symlink swaps and mistakes (B3)."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from gateway.errors import ConfigError
from gateway.keys.yaml_file import READ_EVERY_LOOKS, SMALL_BYTES, YamlKeyDirectory
from gateway.telemetry.metrics import DirectoryStats

ONE = hashlib.sha256(b"one").digest()
TWO = hashlib.sha256(b"two").digest()
THREE = hashlib.sha256(b"three").digest()


def document(key_hash: bytes, *, revoked_at: str = "~") -> str:
    return (
        "version: 1\nworkspaces:\n- id: w\n  plan: P\n  keys:\n"
        f"  - {{id: k, sha256: {key_hash.hex()}, revoked_at: {revoked_at}}}\n"
    )


async def look_twice(directory: YamlKeyDirectory) -> bool:
    """Return whether the second look took what the first one found."""
    assert not await directory.reload_if_changed()
    return await directory.reload_if_changed()


@pytest.fixture
async def ticks() -> "asyncio.Queue[None]":
    return asyncio.Queue()


@pytest.fixture
async def directory(
    tmp_path: Path, ticks: "asyncio.Queue[None]"
) -> AsyncIterator[YamlKeyDirectory]:
    (tmp_path / "keys.yaml").write_text(document(ONE))

    async def wait(_seconds: float) -> None:
        await ticks.get()

    found = YamlKeyDirectory(tmp_path / "keys.yaml", stats=DirectoryStats(), wait=wait)
    await found.start()
    yield found
    await found.close()


async def test_start_refuses_a_missing_file(tmp_path: Path) -> None:
    directory = YamlKeyDirectory(tmp_path / "absent.yaml", stats=DirectoryStats())
    with pytest.raises(
        ConfigError, match=r"absent\.yaml:1:1: \(file\): can't be read: No such file"
    ):
        await directory.start()


async def test_start_refuses_what_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "k.yaml").write_bytes(b"version: 1\n# \xff\n")
    with pytest.raises(ConfigError, match=r"k\.yaml:2:1: \(file\): not UTF-8"):
        await YamlKeyDirectory(tmp_path / "k.yaml", stats=DirectoryStats()).start()


async def test_the_watch_takes_a_change(
    directory: YamlKeyDirectory, ticks: "asyncio.Queue[None]", tmp_path: Path
) -> None:
    (tmp_path / "keys.yaml").write_text(document(TWO))
    ticks.put_nowait(None)
    ticks.put_nowait(None)
    async with asyncio.timeout(5):
        while await directory.find(TWO) is None:
            await asyncio.sleep(0)
    assert await directory.find(ONE) is None


async def test_a_symlink_swap_is_a_change(tmp_path: Path) -> None:
    """A Kubernetes ConfigMap changes by renaming a link two folders up."""
    for name, key_hash in (("v1", ONE), ("v2", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys.yaml").write_text(document(key_hash))
    (tmp_path / "data").symlink_to("v1")
    directory = YamlKeyDirectory(tmp_path / "data" / "keys.yaml", stats=DirectoryStats())
    await directory.start()
    (tmp_path / "swap").symlink_to("v2")
    (tmp_path / "swap").rename(tmp_path / "data")
    assert await look_twice(directory)
    assert await directory.find(TWO) is not None
    await directory.close()


async def test_a_second_write_within_one_tick_of_the_file_clock_is_seen(
    directory: YamlKeyDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(document(TWO))
    assert not await directory.reload_if_changed()
    before = file.stat()
    with file.open("r+") as same_inode:
        same_inode.write(document(THREE))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await look_twice(directory)
    assert await directory.find(THREE) is not None
    assert not await directory.reload_if_changed()


async def test_a_file_that_is_being_written_in_place_is_taken_when_it_is_whole(
    directory: YamlKeyDirectory, tmp_path: Path
) -> None:
    """Half of it may be a document too: one that says of no key that it is revoked."""
    file = tmp_path / "keys.yaml"
    part = document(ONE, revoked_at="2025-01-01T00:00:00Z").replace("- {", "- ").replace("}", "")
    whole = part.replace(", ", "\n    ")
    file.write_text(whole[: whole.index("    revoked_at")])
    assert not await directory.reload_if_changed()
    file.write_text(whole)
    assert await look_twice(directory)
    entry = await directory.find(ONE)
    assert entry is not None
    assert entry.revoked_at_micro is not None


async def test_a_file_that_vanishes_keeps_its_keys_and_is_told_once(
    directory: YamlKeyDirectory, tmp_path: Path
) -> None:
    (tmp_path / "keys.yaml").unlink()
    for _ in range(3):
        assert not await directory.reload_if_changed()
    assert await directory.find(ONE) is not None
    assert directory._stats.errors == 1
    (tmp_path / "keys.yaml").write_text(document(TWO))
    assert await look_twice(directory)


async def test_a_revocation_in_the_file_is_in_force_after_two_looks(
    directory: YamlKeyDirectory, tmp_path: Path
) -> None:
    (tmp_path / "keys.yaml").write_text(document(ONE, revoked_at="2025-01-01T00:00:00Z"))
    assert await look_twice(directory)
    entry = await directory.find(ONE)
    assert entry is not None
    assert entry.revoked_at_micro == 1_735_689_600_000_000


async def test_a_broken_file_is_told_once_and_not_parsed_again(
    directory: YamlKeyDirectory, tmp_path: Path
) -> None:
    (tmp_path / "keys.yaml").write_text("version: [")
    for _ in range(4):
        assert not await directory.reload_if_changed()
    assert directory._stats.errors == 1
    (tmp_path / "keys.yaml").write_text(document(ONE))
    await directory.reload_if_changed()
    assert await directory.find(ONE) is not None


async def test_a_file_that_can_not_be_read_is_told_once_until_that_changes(
    directory: YamlKeyDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "keys.yaml"
    for errors in (1, 2):
        file.unlink()
        file.mkdir()
        for _ in range(3):
            assert not await directory.reload_if_changed()
        assert directory._stats.errors == errors
        file.rmdir()
        file.write_text(document(ONE))
        await directory.reload_if_changed()


async def test_the_watch_outlives_whatever_goes_wrong(
    directory: YamlKeyDirectory, ticks: "asyncio.Queue[None]", tmp_path: Path
) -> None:
    """A directory that no longer follows its file would keep revoked keys valid."""
    told = directory._path
    directory._path = cast("Path", None)
    ticks.put_nowait(None)
    async with asyncio.timeout(5):
        while not directory._stats.errors:
            await asyncio.sleep(0)
    directory._path = told

    (tmp_path / "keys.yaml").write_text(document(TWO))
    ticks.put_nowait(None)
    ticks.put_nowait(None)
    async with asyncio.timeout(5):
        while await directory.find(TWO) is None:
            await asyncio.sleep(0)


def written_in_place(file: Path, text: str) -> None:
    """Write as many bytes into the same inode, and put its time back."""
    before = file.stat()
    with file.open("r+") as same:
        same.write(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        before.st_ino, before.st_size, before.st_mtime_ns,
    )  # fmt: skip


async def test_a_write_that_leaves_no_trace_but_its_content_is_seen(
    directory: YamlKeyDirectory, tmp_path: Path
) -> None:
    written_in_place(tmp_path / "keys.yaml", document(TWO))

    assert await look_twice(directory)
    assert await directory.find(TWO) is not None


async def test_a_large_file_is_read_now_and_then_and_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    filling = "#" * SMALL_BYTES + "\n"
    file.write_text(document(ONE) + filling)
    directory = YamlKeyDirectory(file, stats=DirectoryStats())
    await directory.start()
    assert not await look_twice(directory)

    written_in_place(file, document(TWO) + filling)
    looks = 0
    while not await directory.reload_if_changed():
        looks += 1
        assert looks <= READ_EVERY_LOOKS
    assert looks > 1

    assert not await look_twice(directory)
    written_in_place(file, document(THREE) + filling)
    await directory.read_again()
    assert await directory.reload_if_changed()
    assert await directory.find(THREE) is not None
    await directory.close()


async def test_what_is_in_force_again_after_a_mistake_is_told(
    directory: YamlKeyDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "keys.yaml"
    good = file.read_bytes()
    with capture_logs() as lines:
        for wrong in (b"version: [", b"version: 2\n", None):
            if wrong is None:
                file.unlink()
            else:
                file.write_bytes(wrong)
            for _ in range(3):
                assert not await directory.reload_if_changed()
            assert directory.is_refused()
            assert directory._stats.refused == 1
            file.write_bytes(good)
            for _ in range(3):
                assert not await directory.reload_if_changed()
            assert not directory.is_refused()
            assert directory._stats.refused == 0
    assert [line["event"] for line in lines] == ["keys.file_refused", "keys.file_restored"] * 3
    assert await directory.find(ONE) is not None
