"""Room on the journal's disk that is set aside for a ledger on the same disk.

When that disk is full, the journal waits for the ledger to take its records, and the ledger for the
journal to delete them. What is set aside lets the ledger take a few batches; then there is room.
Meanwhile the journal takes nothing, for it would use the room up.

Source: design section 13; docs/decisions/0022-a-damaged-journal.md.
"""

import os
from collections.abc import Callable
from errno import ENOSPC
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

import structlog

from gateway.metering.journal_reader import JournalReader
from gateway.metering.journal_scan import RESERVE_NAME

_log = structlog.get_logger("journal")

SHORT_BYTES: Final = 1 << 20
"""With less than this free, a disk counts as full: a batch takes about as much."""
_LEDGER_PART: Final = 4
"""A record takes up to so many times its journal's bytes in a ledger, its indexes included."""

T = TypeVar("T")


class Run(Protocol):
    """Runs blocking work elsewhere."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """Return what it returns."""
        ...


class Room:
    """What is set aside in one folder. All of it blocking but ``make``.

    Args:
        reader: Has shipped segments that are kept.
        folder: The journal's.
        reserve_bytes: How much; 0 for nothing.

    Attributes:
        is_given: It was given to the ledger and could not be set aside again yet.
        size_bytes: How much is set aside.
    """

    def __init__(self, reader: JournalReader, folder: Path, reserve_bytes: int) -> None:
        self._reader = reader
        self._path = folder / RESERVE_NAME
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self.is_given = False
        self.size_bytes = reserve_bytes

    @property
    def is_tight(self) -> bool:
        """Whether less is set aside than should be, for want of room."""
        return self.size_bytes < self._reserve_bytes

    def bound_of(self, bytes_max: int) -> int:
        """Return how much the journal may hold: no more than the ledger finds room for."""
        if self.is_tight and self.size_bytes:
            return min(bytes_max, self.size_bytes // _LEDGER_PART)
        return bytes_max

    async def make(self, run: Run, stop_writing: Callable[[], None]) -> bool:
        """Help a ledger that fails on the same full disk; return whether that changed anything.

        First goes what is kept though it is shipped, then what is set aside: from then on nothing
        is written, until the ledger has all and the room is set aside again.

        Args:
            run: Runs blocking work on the journal's thread.
            stop_writing: Has the journal take nothing more.
        """
        try:
            if self.is_given or not await run(self.is_short):
                return False
            await run(partial(self._reader.free, all_kept=True))
            if await run(self.is_short):
                stop_writing()
                return await run(self.give)
        except OSError as error:
            _log.error("journal.no_room_made", error=error.strerror)
            return False
        return True

    def regain(self, *, is_all_shipped: bool) -> None:
        """Set room aside again once the ledger has all.

        Raises:
            OSError: there is none yet.
        """
        if self.is_given or self.is_short():
            self._reader.free(all_kept=True)
        if not self.is_given:
            return
        is_plenty = self._free_bytes() >= 2 * self._reserve_bytes
        if not (is_all_shipped or is_plenty) or not self.set_aside():
            raise OSError(ENOSPC, os.strerror(ENOSPC))

    def is_short(self) -> bool:
        """Return whether the disk is full. Raises ``OSError``."""
        return self._free_bytes() < SHORT_BYTES

    def set_aside(self) -> bool:
        """Set room aside, less if there is little; return whether there is enough of it.

        A file system that copies on write, or compresses, may have less than it promises.
        """
        if not self._reserve_bytes:
            return True
        try:
            there_bytes = self._path.stat().st_size if self._path.exists() else 0
            wanted_bytes = min(self._reserve_bytes, (self._free_bytes() + there_bytes) // 2)
            if wanted_bytes < min(self._reserve_bytes, SHORT_BYTES):
                self.size_bytes = there_bytes
                return False
            if there_bytes < wanted_bytes:
                self._allocate(wanted_bytes)
            self.size_bytes = max(there_bytes, wanted_bytes)
        except OSError as error:
            _log.warning("journal.reserve_not_set_aside", error=error.strerror)
            return False
        self.is_given = False
        return True

    def give(self) -> bool:
        """Give what is set aside away; return whether there was any. Raises ``OSError``."""
        if not self._path.is_file():
            return False
        self._path.unlink()
        self.is_given = True
        return True

    def _allocate(self, size_bytes: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _free_bytes(self) -> int:
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize
