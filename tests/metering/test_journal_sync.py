"""Forcing to the disk: one pass at a time, shared by all that wait, only when there is need."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

from gateway.metering.journal_folder import JournalFolder
from gateway.metering.journal_segments import SegmentWriter
from gateway.metering.journal_sync import Batch, Syncer
from tests.metering.journals import until


class GatedFolder(JournalFolder):
    """A folder whose syncs wait until they are let through."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Semaphore(0)
        self.passes = 0

    def sync(self) -> None:
        self.passes += 1
        self.gate.acquire()


class Told:
    """What the journal is told."""

    def __init__(self) -> None:
        self.synced: list[int] = []
        self.failed: list[int] = []
        self.lost: list[int] = []
        self.retired = 0

    def on_retired(self) -> None:
        self.retired += 1

    def on_synced(self, batches: Sequence[Batch]) -> None:
        self.synced += [batch.end for batch in batches]

    def on_failed(
        self, error: OSError, writers: Sequence[SegmentWriter], batches: Sequence[Batch]
    ) -> None:
        assert error.errno
        self.failed += [batch.end for batch in batches]
        self.lost += [writer.segment.number for writer in writers]


def made(folder: Path, fsync_seconds: float) -> tuple[GatedFolder, Told, Syncer]:
    gated = GatedFolder(folder)
    gated.open()
    told = Told()
    syncer = Syncer(
        gated,
        fsync_seconds,
        on_synced=told.on_synced,
        on_failed=told.on_failed,
        on_retired=told.on_retired,
    )
    return gated, told, syncer


def batch(writer: SegmentWriter, end: int) -> Batch:
    return Batch(writer.segment, end, [])


async def test_what_comes_during_a_pass_shares_the_next(tmp_path: Path) -> None:
    folder, told, syncer = made(tmp_path, 0)
    writer = folder.create_segment(1)
    for end in (1, 2, 3):
        syncer.written(writer, batch(writer, end))
        await until(lambda: folder.passes == 1)
    folder.gate.release()
    await until(lambda: told.synced == [1])
    folder.gate.release()
    await until(lambda: told.synced == [1, 2, 3])
    assert folder.passes == 2
    syncer.close()
    writer.close()
    folder.close()


async def test_a_full_file_is_synced_and_closed_at_once(tmp_path: Path) -> None:
    folder, _told, syncer = made(tmp_path, 3600)
    writer = folder.create_segment(1)
    folder.gate.release()
    syncer.retire(writer)
    await syncer.finish()
    assert writer._descriptor == -1
    syncer.close()
    folder.close()


async def test_after_a_failure_nothing_that_was_dirty_is_trusted(tmp_path: Path) -> None:
    folder, told, syncer = made(tmp_path, 0)
    first, second = folder.create_segment(1), folder.create_segment(2)
    folder.gate.release()
    first.close()
    first._descriptor = 999_999  # the kernel says EBADF, as a disk would say EIO
    syncer.written(first, batch(first, 1))
    syncer.written(second, batch(second, 2))
    await until(lambda: told.failed)
    assert (told.failed, told.lost, told.synced) == ([1, 2], [1, 2], [])
    first._descriptor = -1
    second.close()
    syncer.close()
    folder.close()


async def test_finishing_with_nothing_to_do_does_nothing(tmp_path: Path) -> None:
    folder, _told, syncer = made(tmp_path, 1)
    await asyncio.wait_for(syncer.finish(), 1)
    assert folder.passes == 0
    syncer.close()
    folder.close()
