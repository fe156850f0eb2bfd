"""Densely used memory is put into huge pages; sparsely used memory costs no more than before."""

import asyncio
import platform
import subprocess
import sys
import threading
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.process import huge_pages
from gateway.process.huge_pages import HUGE_BYTES, SMALL_BYTES, candidates, is_dense, join_pages
from gateway.tasks import spawn

ROOT = Path(__file__).parents[2]
PAGES = HUGE_BYTES // SMALL_BYTES
MAPS = """\
557a5545b000-557a5545c000 r-xp 00001000 fe:00 1234                       /usr/bin/python3.11
557a55c00000-557a56000000 rw-p 00000000 00:00 0                          [heap]
7f1290000000-7f1290200000 rw-p 00000000 00:00 0
7f1291000000-7f12911ff000 rw-p 00000000 00:00 0
7f1292001000-7f1292601000 rw-p 00000000 00:00 0                          [anon:arena of this]
7f1293000000-7f1293400000 r--p 00000000 00:00 0
7f1294000000-7f1294400000 rw-p 00000000 fe:00 99                         /usr/lib/a b.so
7f1295000000-7f1295400000 rw-s 00000000 00:01 7                          /dev/zero (deleted)
7ffe2e400000-7ffe2e800000 rw-p 00000000 00:00 0                          [stack]
"""
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
JOINS = SWITCH.exists() and "[never]" not in SWITCH.read_text() and platform.release() >= "6.1"
USES = """
import mmap, re
from gateway.process.huge_pages import HUGE_BYTES, SMALL_BYTES, join_pages

def held_kb():
    with open("/proc/self/smaps") as smaps:
        return sum(int(kb) for kb in re.findall(r"AnonHugePages: +(\\d+) kB", smaps.read()))

memory = mmap.mmap(-1, 16 * HUGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
places = range(0, len(memory), {step})
for at in places:
    memory[at] = 7
before, joined = held_kb(), join_pages()
print(before, held_kb(), joined, join_pages(), all(memory[at] == 7 for at in places))
"""


def used(step: str) -> tuple[int, int, int, int, bool]:
    """Return what a process that uses 32 MB in steps says of itself before and after it joins."""
    done = subprocess.run(
        [sys.executable, "-c", USES.replace("{step}", step)],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    before, after, joined, again, is_whole = done.stdout.split()
    return int(before), int(after), int(joined), int(again), is_whole == "True"


def test_only_whole_pages_of_private_memory_without_a_file_are_candidates() -> None:
    assert list(candidates(MAPS)) == [
        0x557A55C00000, 0x557A55E00000, 0x7F1290000000, 0x7F1292200000, 0x7F1292400000,
    ]  # fmt: skip


@given(st.integers(0, 2**20), st.integers(1, 2**14))
def test_candidates_lie_within_their_memory_and_leave_no_room_for_another(
    first: int, count: int
) -> None:
    begin, end = first * SMALL_BYTES, (first + count) * SMALL_BYTES
    found = list(candidates(f"{begin:x}-{end:x} rw-p 00000000 00:00 0\n"))

    assert all(at % HUGE_BYTES == 0 and begin <= at and at + HUGE_BYTES <= end for at in found)
    assert len(found) == max(0, end // HUGE_BYTES - -(-begin // HUGE_BYTES))


def test_three_quarters_in_use_are_dense() -> None:
    needed = PAGES * 3 // 4

    assert is_dense(b"\1" * needed + b"\0" * (PAGES - needed))
    assert not is_dense(b"\1" * (needed - 1) + b"\0" * (PAGES - needed + 1))
    assert is_dense(b"\xff" * PAGES)
    assert not is_dense(b"\xfe" * PAGES)


@pytest.mark.skipif(not JOINS, reason="needs Linux 6.1 with transparent huge pages")
def test_densely_used_memory_is_joined_and_keeps_its_content() -> None:
    _, after, joined, again, is_whole = used("SMALL_BYTES")

    assert is_whole
    assert joined >= 15, "32 MB hold at least 15 whole huge pages"
    assert again >= joined, "joined once, joined for good"
    assert after >= 15 * HUGE_BYTES // 1024


@pytest.mark.skipif(not JOINS, reason="needs Linux 6.1 with transparent huge pages")
def test_sparsely_used_memory_is_left_alone() -> None:
    before, after, _, _, is_whole = used("4 * SMALL_BYTES")

    assert is_whole
    assert after - before < 15 * HUGE_BYTES // 1024


def test_a_system_without_them_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("_MAPS", "_SWITCH"):
        with monkeypatch.context() as patched:
            patched.setattr(huge_pages, path, ROOT / "no" / "such" / "file")
            assert join_pages() == 0


@pytest.mark.skipif(not JOINS, reason="needs Linux 6.1 with transparent huge pages")
def test_never_is_heeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    switch = tmp_path / "enabled"
    monkeypatch.setattr(huge_pages, "_SWITCH", switch)
    memory = mmap(-1, 4 * HUGE_BYTES, MAP_PRIVATE | MAP_ANONYMOUS)
    memory.write(b"\1" * len(memory))

    switch.write_text("always madvise [never]\n")
    assert join_pages() == 0
    switch.write_text("always [madvise] never\n")
    assert join_pages() >= 3


async def test_it_is_done_at_once_and_again_outside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []
    twice = asyncio.Event()
    loop = asyncio.get_running_loop()

    def join() -> int:
        threads.append(threading.get_ident())
        if len(threads) == 2:
            loop.call_soon_threadsafe(twice.set)
        return 0

    monkeypatch.setattr(huge_pages, "join_pages", join)
    monkeypatch.setattr(huge_pages, "EVERY_SECONDS", 0.0)
    task = spawn(huge_pages.keep_joined(), name="huge-pages")
    await asyncio.wait_for(twice.wait(), 10)
    task.cancel()

    assert threading.get_ident() not in threads
