"""Faults that are real: a child that is killed, a disk that is full, a file that may not grow."""

import asyncio
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.metering.carrier import LedgerCarrier
from gateway.metering.journal_segments import SegmentWriter
from gateway.metering.recorder import Callback
from gateway.rules.record import Record
from tests.metering.journals import FixedClock, ids, journal_in, keep, record, ship, until

CHILD = """
import asyncio, os, sys
from pathlib import Path
from tests.metering.journals import journal_in, record

async def main():
    journal = journal_in(
        Path(sys.argv[1]), segment_bytes_max=50_000, fsync_seconds=float(sys.argv[2])
    )
    number = 0
    def tell(number):
        def released(kept):
            assert kept
            os.write(1, b"#%d\\n" % number)
        return released
    while True:
        for _ in range(20):
            journal.append(record(number, owes=number % 2), Callback(tell(number)))
            number += 1
        await asyncio.sleep(0)

asyncio.run(main())
"""


def released_until_killed(command: list[str], count: int) -> list[int]:
    """Run a child, kill it once it released so many records, return all that it released."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        try:
            lines = [child.stdout.readline() for _ in range(count)]
        finally:
            child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    return [int(line[1:]) for line in whole if line.startswith(b"#")]


@pytest.mark.parametrize("fsync_seconds", [1.0, 0.0])
@pytest.mark.parametrize("released_before_the_kill", [1, 500, 3000])
async def test_kill_9_loses_no_released_record(
    tmp_path: Path, released_before_the_kill: int, fsync_seconds: float
) -> None:
    """X6: a real ``kill -9`` of a writing process; what it released is all in the journal."""
    released = released_until_killed(
        [sys.executable, "-c", CHILD, str(tmp_path), str(fsync_seconds)], released_before_the_kill
    )
    journal = journal_in(tmp_path)
    kept = ids(ship(journal))
    assert set(ids([record(number) for number in released])) <= set(kept)
    assert len(kept) == len(set(kept))
    owed = journal.read_unacknowledged(None, 1_000_000).records
    assert len(owed) == journal.unacknowledged_count
    await journal.close()


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a file system of 1 MiB; skip where that is not permitted."""
    folder = tempfile.mkdtemp()
    mount = shutil.which("mount")
    if os.getuid() != 0 or mount is None:
        pytest.skip("only root can mount a file system")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "none", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield Path(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
        Path(folder).rmdir()


async def test_a_full_disk_is_told_survived_and_left_behind() -> None:
    """X6, design 13: nothing unrecorded is released; the journal comes back when there is room."""
    with small_disk() as folder:
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(600_000))
        journal = journal_in(folder / "journal", segment_bytes_max=100_000)
        told: list[bool] = []
        number = 0
        while journal.is_available:
            told += await keep(journal, [record(number + each) for each in range(10)])
            number += 10
        assert told[-10:] == [False] * 10
        ballast.unlink()
        await until(lambda: journal.is_available)
        told += await keep(journal, [record(number)])
        expected = [record(each) for each, kept in enumerate(told) if kept]
        assert told[-1]
        assert ids(ship(journal)) == ids(expected)
        await journal.close()
        again = journal_in(folder / "journal")
        assert again.unshipped_records == 0
        await again.close()


class Taker:
    """A ledger that takes everything."""

    def append(self, records: Sequence[Record]) -> int:
        return len(records)

    def epoch(self) -> str:
        return ""

    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        return set(event_ids)


async def test_a_full_disk_does_not_keep_shipped_segments(tmp_path: Path) -> None:
    """The note of what is shipped can't be written; deleting is what helps, and it is safe."""
    with small_disk() as folder:
        journal = journal_in(folder / "journal", segment_bytes_max=50_000)
        while journal.is_available:
            await keep(journal, [record(1)])
        with pytest.raises(OSError, match="No space"):
            (folder / "rest").write_bytes(bytes(1 << 20))
        carrier = LedgerCarrier(Taker(), FixedClock())  # type: ignore[arg-type]
        carried = carrier.carry(journal.load(1_000_000))
        journal.reader.mark_carried(carried.position, carried.count)
        assert journal.reader.is_freeable
        journal.free()
        assert not journal.reader.is_freeable
        await until(lambda: journal.is_available)
        assert await keep(journal, [record(2)]) == [True]
        await journal.close()


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fsync_seconds", [60.0, 0.0])
async def test_a_file_that_may_not_grow_is_cut_back_to_whole_records(
    tmp_path: Path, fsync_seconds: float
) -> None:
    """X6: EFBIG comes after a part was written: the part goes, the next file takes over."""
    journal = journal_in(tmp_path, fsync_seconds=fsync_seconds)
    told: list[bool] = []
    with files_no_larger_than(20_000):
        while not told or told[-1]:
            told += await keep(journal, [record(len(told) + each, owes=1) for each in range(7)])
        assert not journal.is_available
        assert told[-7:] == [False] * 7
        assert journal.unacknowledged_count == len(told) - 7
    await until(lambda: journal.is_available)
    told += await keep(journal, [record(len(told))])
    await journal.close()
    again = journal_in(tmp_path)
    assert ids(list(again.reader.replay())) == ids(
        [record(number) for number, kept in enumerate(told) if kept]
    )
    assert again.directory == tmp_path
    await again.close()


async def test_a_folder_that_takes_no_new_file_is_a_lost_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more descriptors, at the moment a new segment is due: what is written stays released."""
    journal = journal_in(tmp_path, segment_bytes_max=1)

    def refuses(_number: int) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(journal._folder, "create_segment", refuses)
        assert await keep(journal, [record(1)]) == [True]
        assert not journal.is_available
        await asyncio.sleep(0.02)
        assert not journal.is_available
    await until(lambda: journal.is_available)
    assert await keep(journal, [record(2)]) == [True]
    assert ids(ship(journal)) == ids([record(1), record(2)])
    await journal.close()


LOCK_FOLDER_AND_SEGMENT = 3
"""What a journal keeps open."""


def open_files(folder: Path) -> int:
    """Return how many descriptors of this process lead into a folder."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            count += str(descriptor.readlink()).startswith(str(folder))
    return count


@contextmanager
def failing(owner: object, name: str, *, times: int = 1) -> Iterator[list[str]]:
    """Let a method raise EIO so many times; yields a word for each."""
    really = getattr(owner, name)
    failed: list[str] = []

    def fails(*args: object, **options: object) -> object:
        if len(failed) < times:
            failed.append(name)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return really(*args, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, name, fails)
        yield failed


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fsync_seconds", [60.0, 0.0])
async def test_a_full_segment_that_is_not_synced_holds_up_none_behind_it(
    tmp_path: Path, fsync_seconds: float, times: int
) -> None:
    """X6: the one begun meanwhile is empty: readers must go past it all the same."""
    journal = journal_in(tmp_path, fsync_seconds=fsync_seconds, segment_bytes_max=400)
    with failing(journal._folder, "sync", times=times) as failed:
        is_kept = fsync_seconds > 0
        assert await keep(journal, [record(1), record(2)]) == [is_kept, is_kept]
        await until(lambda: not journal.is_available)
        await until(lambda: journal.is_available)
    assert len(failed) == times
    told = [await keep(journal, [record(number)]) for number in (3, 4, 5)]
    assert told == [[True]] * 3
    await journal.flush()
    expected = [record(1), record(2)] if is_kept else []
    expected += [record(3), record(4), record(5)]
    assert ids(ship(journal)) == ids(expected)
    assert journal.unshipped_records == 0
    assert len(list(tmp_path.glob("*.journal"))) == 1
    assert open_files(tmp_path) == LOCK_FOLDER_AND_SEGMENT
    await journal.close()


async def test_what_was_written_behind_a_full_segment_that_is_not_synced_stays(
    tmp_path: Path,
) -> None:
    """What is released stays released, in the segment that was begun meanwhile too."""
    journal = journal_in(tmp_path, segment_bytes_max=400)
    with failing(journal._folder, "sync"):
        told: list[bool] = []
        for number in (1, 2):
            journal.append(record(number), Callback(told.append))
        await asyncio.sleep(0)  # the segment is full, its fsync is still to come
        journal.append(record(3), Callback(told.append))
        await until(lambda: not journal.is_available)
        await until(lambda: journal.is_available)
    assert told == [True] * 3
    assert await keep(journal, [record(4)]) == [True]
    assert ids(ship(journal)) == ids([record(number) for number in (1, 2, 3, 4)])
    await journal.close()


@pytest.mark.sources  # it replaces methods
@pytest.mark.parametrize("is_deletable", [True, False])
async def test_a_new_segment_whose_name_is_not_synced_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_deletable: bool
) -> None:
    """Design 13: its file stands in nobody's way, even if the disk refuses to delete it."""
    journal = journal_in(tmp_path)
    with failing(SegmentWriter, "write"), failing(journal._folder, "probe", times=1 << 30):
        assert await keep(journal, [record(1)]) == [False]
        await journal.flush()  # what follows is the recovery alone

    def refuses(_path: Path, *, missing_ok: bool = False) -> None:
        if not missing_ok:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with failing(journal._folder, "sync") as failed, monkeypatch.context() as patched:
        if not is_deletable:
            patched.setattr(Path, "unlink", refuses)
        await until(lambda: journal.is_available)
    assert failed
    await until(lambda: journal._recovery is None)
    assert len(list(tmp_path.glob("*.journal"))) == (2 if is_deletable else 3)
    assert open_files(tmp_path) == LOCK_FOLDER_AND_SEGMENT
    assert await keep(journal, [record(2)]) == [True]
    await journal.close()
    again = journal_in(tmp_path)
    assert ids(ship(again)) == ids([record(2)])
    await again.close()


async def test_the_end_may_come_while_the_disk_is_lost(tmp_path: Path) -> None:
    """Design 13: SIGTERM on a full disk ends the process; what was kept before is kept."""
    journal = journal_in(tmp_path, probe_seconds=60)
    with files_no_larger_than(3_000):
        while journal.is_available:
            await keep(journal, [record(1)])
        await journal.close()
    again = journal_in(tmp_path)
    assert set(ids(list(again.reader.replay()))) == {record(1).event_id}
    await again.close()


@pytest.mark.sources  # it replaces methods
@pytest.mark.parametrize(("refused", "fsync_seconds"), [("write", 60.0), ("sync", 0.0)])
async def test_a_log_on_the_same_full_disk_keeps_no_request_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, fsync_seconds: float
) -> None:
    """Not even that can be logged: requests are told all the same, and the disk is tried again."""
    journal = journal_in(tmp_path, fsync_seconds=fsync_seconds)

    def full(_writer: SegmentWriter, *_data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    def unwritable(_event: str, **_facts: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, refused, full)
        patched.setattr("gateway.metering.journal._log.critical", unwritable)
        assert await keep(journal, [record(1), record(2)]) == [False, False]
    await until(lambda: journal.is_available)

    assert await keep(journal, [record(3)]) == [True]

    await journal.close()
