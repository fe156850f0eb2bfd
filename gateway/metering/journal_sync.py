"""Forcing what is written to the disk: in a thread, one pass at a time, only when there is need.

Owns: the pace (every write or every so many seconds) and the closing of files that are full.
Does not own: what becomes of the requests that wait for it.
Source: design section 8 ("power loss loses at most the fsync interval").
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from gateway.metering.journal_folder import JournalFolder
from gateway.metering.journal_segments import Segment, SegmentWriter
from gateway.metering.recorder import Waiter
from gateway.rules.record import Record
from gateway.tasks import spawn

T = TypeVar("T")


@dataclass(slots=True, init=False)
class Batch:
    """What one write brought into a segment, up to which offset, and who waits for it."""

    segment: Segment
    end: int
    waiting: list[tuple[Record, Waiter]]

    def __init__(self, segment: Segment, end: int, waiting: list[tuple[Record, Waiter]]) -> None:
        # Written out: one that dataclasses makes is not compiled.
        self.segment = segment
        self.end = end
        self.waiting = waiting


class Syncer:
    """Keeps the disk at most ``fsync_seconds`` behind the files.

    Args:
        folder: Whose files.
        fsync_seconds: 0 syncs at once; whatever is written meanwhile shares the next pass.
        on_synced: Given the batches that waited for a pass that succeeded.
        on_failed: Given the error, the files of which nothing more is known, and the batches.
        on_retired: Called on the journal's thread when files were closed for good.
    """

    def __init__(
        self,
        folder: JournalFolder,
        fsync_seconds: float,
        *,
        on_synced: Callable[[Sequence[Batch]], None],
        on_failed: Callable[[OSError, Sequence[SegmentWriter], Sequence[Batch]], None],
        on_retired: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._fsync_seconds = fsync_seconds
        self._on_synced = on_synced
        self._on_failed = on_failed
        self._on_retired = on_retired
        self._dirty: dict[SegmentWriter, None] = {}
        self._retired: list[SegmentWriter] = []
        self._awaiting: list[Batch] = []
        self._timer: asyncio.TimerHandle | None = None
        self._pass: asyncio.Task[None] | None = None
        # A thread of its own: a ledger that hangs must not keep records from the disk.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="journal")

    @property
    def is_immediate(self) -> bool:
        """Whether requests wait for the disk, not only for the page cache."""
        return self._fsync_seconds == 0

    def written(self, writer: SegmentWriter, batch: Batch | None = None) -> None:
        """Note that a file has new bytes, and, if a batch is given, that it waits for the disk."""
        self._dirty[writer] = None
        if batch is not None:
            self._awaiting.append(batch)
        if self._timer is None and self._pass is None:
            self._begin_soon()

    def retire(self, writer: SegmentWriter) -> None:
        """Close a file once it is on the disk, which is made to happen at once.

        An open file keeps its space even after it is deleted.
        """
        self._retired.append(writer)
        self._dirty[writer] = None
        if self._pass is None:
            self._begin()

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work on the journal's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def finish(self) -> None:
        """Bring everything to the disk now."""
        while self._dirty or self._pass is not None:
            if self._pass is None:
                self._begin()
            else:
                await asyncio.wait([self._pass])

    def close(self) -> None:
        """End the thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._executor.shutdown(wait=True)

    def _begin_soon(self) -> None:
        if self.is_immediate or self._retired:
            self._begin()
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._fsync_seconds, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pass = spawn(self._sync(), name="journal.fsync")

    async def _sync(self) -> None:
        writers, self._dirty = self._dirty, {}
        retired, self._retired = self._retired, []
        batches, self._awaiting = self._awaiting, []

        def force() -> None:
            for writer in writers:
                writer.sync()
            self._folder.sync()
            if retired:
                self._on_retired()

        try:
            await self.run(force)
        except OSError as error:
            # The kernel may have dropped the pages: asking again would succeed and mean nothing.
            lost = dict.fromkeys([*writers, *retired, *self._dirty, *self._retired])
            batches += self._awaiting
            self._dirty, self._retired, self._awaiting = {}, [], []
            self._pass = None
            self._on_failed(error, list(lost), batches)
            return
        for writer in retired:
            writer.close()
        self._pass = None
        if self._dirty:
            self._begin_soon()
        self._on_synced(batches)
