"""The journal's folder: its lock, its segment files, its checkpoint. All of it blocking.

Owns: names, atomic replacement, the check that one process alone writes here, the scan at start.
Does not own: when to write, what a line means to others.
Source: design sections 8 and 13; requirement X6.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
import structlog

from gateway.errors import GatewayError
from gateway.metering.journal_format import (
    ACKNOWLEDGED,
    CORRECTED,
    FORMAT_VERSION,
    Line,
    Position,
    decode_acknowledgement,
    hold_id_of,
    may_be_record,
)
from gateway.metering.journal_lines import read_lines
from gateway.metering.journal_segments import Segment, SegmentWriter

_log = structlog.get_logger("journal")

_NAME: Final = re.compile(r"(\d{12})\.v(\d+)\.journal")
_CHECKPOINT: Final = "checkpoint.json"
_LOCK: Final = "lock"
_PROBE: Final = "probe"
_PROBE_BYTES: Final = 256 * 1024
"""More than any tick writes at once: a disk that takes this can take the journal again."""
_START: Final = Position(0, 0)
_HINTS: Final = {
    errno.EACCES: "give the gateway's user write permission on the folder, or name another one",
    errno.EPERM: "give the gateway's user write permission on the folder, or name another one",
    errno.EROFS: "the file system is read-only: mount it writable, or name another folder",
    errno.ENOSPC: "free space on the disk, or name a folder on another one",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.EEXIST: "there is a file of that name: name a folder",
}


@dataclass(slots=True)
class Scan:
    """What a folder held when it was opened."""

    segments: list[Segment] = field(default_factory=list)
    shipped: Position = _START
    unshipped_records: int = 0
    damaged_lines: int = 0
    unacknowledged: dict[str, Segment] = field(default_factory=dict)
    """By hold id, in order of writing."""
    next_number: int = 1


def write_checkpoint(folder: Path, position: Position) -> None:
    """Note durably that the ledger has all records of a journal before a position. Blocking.

    Whoever ships does so, without the folder's lock: the shipping process of a worker that was
    killed may come late. What it notes is true, if old; each process writes a file of its own.

    Raises:
        OSError: nothing is noted; a restart ships again what the ledger has.
    """
    temporary = folder / f"{_CHECKPOINT}.{os.getpid()}"
    content = orjson.dumps({"v": FORMAT_VERSION, **position._asdict()})
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / _CHECKPOINT)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


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
                return self._scan()
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
        path = self.path / f"{number:012d}.v{FORMAT_VERSION}.journal"
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        return SegmentWriter(Segment(number, path), descriptor)

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
        path = self.path / _PROBE
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

    def _read_checkpoint(self) -> Position:
        try:
            values = orjson.loads((self.path / _CHECKPOINT).read_bytes())
            return Position(int(values["segment"]), int(values["offset"]))
        except FileNotFoundError:
            return _START
        except (ValueError, KeyError, TypeError) as error:
            # Shipping starts over; the ledger knows the records that it has.
            _log.error("journal.checkpoint_unreadable", folder=str(self.path), error=str(error))
            return _START

    def _take_lock(self) -> None:
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise GatewayError(
                "journal.locked",
                f"another process (pid {holder}) writes the journal in {self.path}",
                "give each worker a journal folder of its own, or stop the other process",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._lock_descriptor = descriptor
        self._directory_descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _scan(self) -> Scan:
        scan = Scan(shipped=self._read_checkpoint())
        scan.next_number = scan.shipped.segment + 1
        for unfinished in self.path.glob(f"{_CHECKPOINT}.*"):
            unfinished.unlink(missing_ok=True)
        for number, path in self._segment_files():
            scan.next_number = max(scan.next_number, number + 1)
            size = path.stat().st_size
            if size == 0:
                path.unlink()
                continue
            segment = Segment(number, path, is_sealed=True)
            self._scan_segment(segment, size, scan)
            scan.segments.append(segment)
        return scan

    def _segment_files(self) -> list[tuple[int, Path]]:
        found = []
        for path in self.path.iterdir():
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            if int(match[2]) != FORMAT_VERSION:
                raise GatewayError(
                    "journal.format_unknown",
                    f"{path} was written in journal format {match[2]}, this is {FORMAT_VERSION}",
                    "start the version that wrote it until it has shipped everything",
                )
            found.append((int(match[1]), path))
        return sorted(found)

    def _scan_segment(self, segment: Segment, size: int, scan: Scan) -> None:
        whole = 0
        for line in read_lines(segment.path, 0, size):
            if line.kind is None:
                scan.damaged_lines += 1
                self._report_damage(segment, line)
            if line.is_torn:
                break
            whole = line.end
            self._note(segment, line, scan)
        segment.written = segment.end = whole
        if whole < size:
            os.truncate(segment.path, whole)

    def _note(self, segment: Segment, line: Line, scan: Scan) -> None:
        if line.kind == ACKNOWLEDGED:
            for hold_id in decode_acknowledgement(line.payload):
                owing = scan.unacknowledged.pop(hold_id, None)
                if owing is not None:
                    owing.unacknowledged -= 1
            return
        is_counted = line.kind is not None or may_be_record(line.payload)
        if is_counted and (segment.number, line.start) >= scan.shipped:
            scan.unshipped_records += 1
        if line.kind == CORRECTED:
            segment.unacknowledged += 1
            scan.unacknowledged[hold_id_of(line.payload)] = segment

    def _report_damage(self, segment: Segment, line: Line) -> None:
        """Say loudly what can't be read; whoever ships it keeps a damaged line's bytes.

        A torn last line needs no keeping: its write never ended, so its request was not answered.
        """
        facts = {
            "segment": segment.path.name,
            "offset": line.start,
            "size_bytes": len(line.payload),
        }
        if line.is_torn:
            _log.error("journal.torn_line", **facts)
            return
        _log.error("journal.damaged_line", **facts)

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
