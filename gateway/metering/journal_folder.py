"""The journal's folder: its lock and its segment files. All of it blocking.

Owns: the check that one process alone writes here, how segments are created.
Does not own: when to write, what a folder holds (``journal_scan``).
Source: design sections 8 and 13; requirement X6.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError
from gateway.metering.journal_format import FORMAT_VERSION
from gateway.metering.journal_scan import LOCK_NAME, PROBE_NAME, Scan, scan_folder
from gateway.metering.journal_segments import Segment, SegmentWriter

_PROBE_BYTES: Final = 256 * 1024
"""More than any tick writes at once: a disk that takes this can take the journal again."""
_HINTS: Final = {
    errno.EACCES: "give the gateway's user write permission on the folder, or name another one",
    errno.EPERM: "give the gateway's user write permission on the folder, or name another one",
    errno.EROFS: "the file system is read-only: mount it writable, or name another folder",
    errno.ENOSPC: "free space on the disk, or name a folder on another one",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.EEXIST: "there is a file of that name: name a folder",
}


class JournalFolder:
    """One folder on the disk, used by this process alone while it is locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_descriptor = -1
        self._directory_descriptor = -1

    def open(self) -> Scan:
        """Create and lock the folder, mend its ends, and return what it holds.

        Raises:
            GatewayError: ``journal.locked``, ``journal.unwritable``, ``journal.format_unknown``.
        """
        with self._explained():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            try:
                return scan_folder(self.path)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Give the folder up."""
        for descriptor in (self._directory_descriptor, self._lock_descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self._directory_descriptor = self._lock_descriptor = -1

    def create_segment(self, number: int) -> SegmentWriter:
        """Create a segment's file. Raises ``OSError``."""
        path = self._segment_path(number)
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        return SegmentWriter(Segment(number, path), descriptor)

    def holds_segment(self, number: int) -> bool:
        """Return whether there is anything of that name."""
        return os.path.lexists(self._segment_path(number))

    def create_durable_segment(self, number: int) -> SegmentWriter:
        """Create a segment's file and force its name to the disk, or leave none behind.

        Raises:
            OSError: there is no such segment; its file is deleted if the disk permits that.
        """
        writer = self.create_segment(number)
        try:
            self.sync()
        except OSError:
            writer.close()
            with suppress(OSError):
                writer.segment.path.unlink()
            raise
        return writer

    def begin_segment(self, number: int) -> SegmentWriter:
        """Create the segment that a start begins with.

        Raises:
            GatewayError: ``journal.unwritable``.
        """
        with self._explained():
            return self.create_durable_segment(number)

    def sync(self) -> None:
        """Force the folder's entries to the disk. Raises ``OSError``."""
        os.fsync(self._directory_descriptor)

    def probe(self) -> None:
        """Try whether the disk takes data. Raises ``OSError`` if it does not."""
        path = self.path / PROBE_NAME
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                rest = memoryview(bytes(_PROBE_BYTES))
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        finally:
            path.unlink(missing_ok=True)

    def _segment_path(self, number: int) -> Path:
        return self.path / f"{number:012d}.v{FORMAT_VERSION}.journal"

    def _take_lock(self) -> None:
        descriptor = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise self._locked(holder) from error
        self._lock_descriptor = descriptor
        self._directory_descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The folder itself too: a lock file that was deleted must not let a second one in.
            fcntl.flock(self._directory_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise self._locked("unknown") from error
        except OSError:
            pass  # NFS locks no folders
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)

    def _locked(self, holder: str) -> GatewayError:
        return GatewayError(
            "journal.locked",
            f"another process (pid {holder}) writes the journal in {self.path}",
            "give each worker a journal folder of its own, or stop the other process",
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the operating system says into what the operator can do."""
        try:
            yield
        except OSError as error:
            raise GatewayError(
                "journal.unwritable",
                f"the journal's folder {self.path} can't be used: {error.strerror}",
                _HINTS.get(error.errno or 0, "see that the folder's disk works and is writable"),
            ) from error
