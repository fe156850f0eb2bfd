"""What a journal's folder holds when it is opened, and what is wrong with it.

Nothing counts as shipped without proof: the checkpoint's line must stand where it says, the
manifest's segments must be there in their sizes. Otherwise all that is held is shipped again, for
the ledger ignores what it has. Nothing that can't be explained is deleted.

Source: design sections 8 and 13; docs/decisions/0022-a-damaged-journal.md.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import GatewayError
from gateway.metering.checkpoint import (
    CHECKPOINT_NAME,
    START,
    Checkpoint,
    is_proven,
    read_checkpoint,
)
from gateway.metering.journal_damage import Damage, Damages
from gateway.metering.journal_format import (
    ACKNOWLEDGED,
    CORRECTED,
    FORMAT_VERSION,
    RECORD,
    Line,
    Position,
    decode_acknowledgement,
    hold_id_of,
    may_be_record,
)
from gateway.metering.journal_lines import read_lines
from gateway.metering.journal_segments import Segment
from gateway.metering.manifest import MANIFEST_NAME, Entry, Manifest, read_manifest
from gateway.metering.quarantine import QUARANTINE_NAME

_log = structlog.get_logger("journal")

LOCK_NAME: Final = "lock"
PROBE_NAME: Final = "probe"
RESERVE_NAME: Final = "reserve"
_SEGMENT: Final = re.compile(r"(\d{12,18})\.v(\d+)\.journal")
_NUMBER_END: Final = 10**12
"""No journal lives long enough to count so far."""
_UNFINISHED: Final = re.compile(
    rf"({re.escape(CHECKPOINT_NAME)}|{re.escape(MANIFEST_NAME)})\.[0-9]+"
)
_OWN: Final = frozenset(
    {LOCK_NAME, PROBE_NAME, RESERVE_NAME, CHECKPOINT_NAME, MANIFEST_NAME, QUARANTINE_NAME}
    | {"lost+found"}
)
_NFS: Final = ".nfs"
"""NFS names a file so that is deleted while a process has it open."""
_BEGINNING_BYTES: Final = 4096
_MISSING_TOLD_MAX: Final = 100


@dataclass(slots=True)
class Scan:
    """What a folder held when it was opened.

    Attributes:
        kept: Shipped segments, oldest first; older than ``segments``.
        segments: The others, oldest first.
        empty: Those that were begun and never written to: to be deleted.
        is_first: Nothing was noted in this folder before.
        shipped: The ledger has all before it.
        unacknowledged: Segment by hold id, in order of writing.
        unread: What the manifest must go on to say of segments that can't be read.
        damages: Count by kind.
        damaged_lines: Torn ones included.
    """

    journal_id: str
    kept: list[Segment] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    empty: list[Segment] = field(default_factory=list)
    is_first: bool = False
    shipped: Position = START
    checkpoint: Checkpoint | None = None
    unshipped_records: int = 0
    damaged_lines: int = 0
    unacknowledged: dict[str, Segment] = field(default_factory=dict)
    unread: dict[int, Entry] = field(default_factory=dict)
    next_number: int = 1
    damages: dict[str, int] = field(default_factory=dict)


def scan_folder(folder: Path) -> Scan:
    """Look at all files of a folder that this process has locked, and mend its newest end.

    Raises:
        GatewayError: ``journal.format_unknown``.
        OSError: the folder itself can't be read.
    """
    return _Scanner(folder).scan()


class _Scanner:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._damages = Damages(str(folder))
        self._files: dict[int, Path] = {}
        self._sizes: dict[int, int] = {}
        self._manifest: Manifest | None = None
        self._strays: set[int] = set()
        self._has_manifest = (folder / MANIFEST_NAME).exists()
        self._is_of_older_release = False

    def scan(self) -> Scan:
        self._manifest = self._read_manifest()
        self._list()
        checkpoint = self._read_checkpoint()
        self._check_numbers(checkpoint)
        self._check_sizes(checkpoint)
        self._find_doubles()
        manifest = self._manifest or Manifest()
        scan = Scan(manifest.journal_id)
        scan.is_first = not self._has_manifest or manifest.is_first
        self._sort_segments(scan, manifest)
        newest = max([*self._files, *manifest.entries, 0])
        if checkpoint is not None:
            newest = max(newest, min(checkpoint.position.segment, _NUMBER_END), checkpoint.newest)
        scan.next_number = newest + 1
        if self._is_believed(checkpoint, scan):
            scan.checkpoint = checkpoint
        if scan.checkpoint is not None and not self._damages.needs_again:
            scan.shipped = scan.checkpoint.position
        else:
            scan.checkpoint = None
        self._read_segments(scan)
        scan.damages = self._damages.counts
        return scan

    def _list(self) -> None:
        """Find the segments; take away what a crash left unfinished; name what is foreign."""
        for path in sorted(self._folder.iterdir()):
            if _UNFINISHED.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)
                continue
            match = _SEGMENT.fullmatch(path.name)
            if match is None:
                if path.name not in _OWN and not path.name.startswith(_NFS):
                    self._damages.tell(Damage.FOREIGN_FILE, again=False, file=path.name)
                continue
            if int(match[2]) != FORMAT_VERSION:
                raise GatewayError(
                    "journal.format_unknown",
                    f"{path} was written in journal format {match[2]}, this is {FORMAT_VERSION}",
                    "start the version that wrote it until it has shipped everything",
                )
            self._take(int(match[1]), path)

    def _take(self, number: int, path: Path) -> None:
        try:
            status = path.stat()
        except OSError:
            status = None  # a link to nothing
        is_ours = path.name.startswith(f"{number:012d}.") and self._may_be_reached(number)
        if status is None or not stat.S_ISREG(status.st_mode) or not is_ours:
            self._damages.tell(Damage.FOREIGN_FILE, again=False, file=path.name)
            return
        self._files[number] = path
        self._sizes[number] = status.st_size

    def _may_be_reached(self, number: int) -> bool:
        """Return whether this may be a segment's number: those that follow it need one as well."""
        return number < _NUMBER_END or (
            self._manifest is not None and number in self._manifest.entries
        )

    def _read_manifest(self) -> Manifest | None:
        try:
            return read_manifest(self._folder)
        except FileNotFoundError:
            return None  # whether that is wrong, the checkpoint says
        except (OSError, ValueError) as error:
            self._damages.tell(Damage.MANIFEST, error=str(error))
            return None

    def _read_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint, None if it is not to be believed."""
        try:
            checkpoint = read_checkpoint(self._folder)
        except FileNotFoundError:
            if self._manifest is not None and not self._manifest.is_first:
                self._damages.tell(Damage.CHECKPOINT, error="it is gone")
            elif any(self._sizes.values()) and not self._has_manifest:
                self._damages.tell(Damage.MANIFEST, error="there are segments, and no notes")
            return None
        except (OSError, ValueError) as error:
            self._damages.tell(Damage.CHECKPOINT, error=str(error))
            return None
        if checkpoint is None:
            self._is_of_older_release = not self._has_manifest
            if self._has_manifest and not (self._manifest and self._manifest.is_first):
                self._damages.tell(Damage.CHECKPOINT, error="it is of an older release")
            return None
        if self._manifest is None and not self._has_manifest:
            self._damages.tell(Damage.MANIFEST, error="it is gone")
        elif self._manifest and self._manifest.journal_id != checkpoint.journal_id:
            self._damages.tell(Damage.CHECKPOINT, error="it is of another folder")
            return None
        return checkpoint

    def _check_numbers(self, checkpoint: Checkpoint | None) -> None:
        """Name the segments that are missing, and those that were not begun here."""
        if self._is_of_older_release:
            return  # it left numbers out
        if self._manifest is None:
            first = min(self._files, default=checkpoint.position.segment if checkpoint else 0)
            last = max([*self._files, checkpoint.newest if checkpoint else 0])
            if checkpoint and checkpoint.position.segment + 1 < first:
                first = checkpoint.position.segment + 1
            self._tell_missing(first, last)
            return
        entries = self._manifest.entries
        for number, entry in sorted(entries.items()):
            may_be_gone = entry.is_leaving or entry.size_bytes == 0
            if number not in self._files and not may_be_gone:
                self._damages.tell(
                    Damage.SEGMENT_MISSING,
                    again=not entry.is_shipped,
                    segment=number,
                    size_bytes=entry.size_bytes,
                    is_shipped=entry.is_shipped,
                )
        newest = max(entries, default=0)
        for number in sorted(self._files.keys() - entries.keys()):
            if entries and number != newest + 1:
                self._tell_stray(number, "the manifest does not know it")
            newest = max(newest, number) if number == newest + 1 else newest
        if checkpoint and checkpoint.newest > max([newest, *entries]):
            self._damages.tell(Damage.SEGMENT_MISSING, segment=checkpoint.newest)

    def _tell_missing(self, first: int, last: int) -> None:
        """Name gaps by number alone, as whole spans."""
        known = sorted(number for number in self._files if number >= first)
        for number in [*known, last + 1][:_MISSING_TOLD_MAX]:
            if number > first > 0:
                self._damages.tell(Damage.SEGMENT_MISSING, segment=first, until=number - 1)
            first = number + 1

    def _tell_stray(self, number: int, why: str) -> None:
        self._strays.add(number)
        self._damages.tell(Damage.SEGMENT_UNKNOWN, file=self._files[number].name, error=why)

    def _check_sizes(self, checkpoint: Checkpoint | None) -> None:
        entries = self._manifest.entries if self._manifest else {}
        for number, size in self._sizes.items():
            entry = entries.get(number)
            least = checkpoint.newest_end if checkpoint and checkpoint.newest == number else 0
            expected = entry.size_bytes if entry else None
            if size < least or (expected is not None and size != expected):
                self._damages.tell(
                    Damage.SEGMENT_ALTERED,
                    segment=number,
                    size_bytes=size,
                    expected_bytes=least if expected is None else expected,
                )

    def _find_doubles(self) -> None:
        """Name files that begin as another does: a record's line has an id of its own."""
        beginnings: dict[bytes, int] = {}
        entries = self._manifest.entries if self._manifest else {}
        for number, path in sorted(self._files.items()):
            try:
                with path.open("rb") as file:
                    beginning = file.read(_BEGINNING_BYTES)
            except OSError:
                continue  # its reader names it
            if beginning.startswith((RECORD, CORRECTED)):
                beginning = beginning.partition(b"\n")[0]
            if not beginning:
                continue
            other = beginnings.setdefault(beginning, number)
            if other != number and number not in self._strays:
                double = other if other not in entries and number in entries else number
                if double not in self._strays:
                    self._tell_stray(double, f"it begins as segment {min(other, number)} does")

    def _sort_segments(self, scan: Scan, manifest: Manifest) -> None:
        """Tell segments that are kept from those that are needed still."""
        for number in sorted(self._files):
            entry = manifest.entries.get(number, Entry(None))
            size = self._sizes[number]
            segment = Segment(number, self._files[number], size, size, is_sealed=True)
            segment.is_stray = number in self._strays
            segment.crc = entry.crc
            if entry.is_unread:
                self._damages.needs_again = True  # the checkpoint went on without it
            if entry.is_shipped and not segment.is_stray and not scan.segments:
                scan.kept.append(segment)
            else:
                scan.segments.append(segment)

    def _is_believed(self, checkpoint: Checkpoint | None, scan: Scan) -> bool:
        if checkpoint is None or checkpoint.position == START:
            return checkpoint is not None
        number = checkpoint.position.segment
        held = [*scan.kept, *scan.segments]
        if held and number < held[0].number:
            return True  # all that is held lies behind it
        try:
            if number in self._files and is_proven(checkpoint, self._files[number]):
                return self._is_newest(checkpoint, scan)
            what = "the line before it is another"
        except OSError as error:
            what = error.strerror or str(error)
        if not held:
            # Nothing is left that it could speak of; whether that is right, the manifest says.
            return True
        self._damages.tell(
            Damage.CHECKPOINT, error=what, position=f"{number}:{checkpoint.position.offset}"
        )
        return False

    def _is_newest(self, checkpoint: Checkpoint, scan: Scan) -> bool:
        if scan.kept and checkpoint.position < (scan.kept[-1].number, scan.kept[-1].end):
            self._damages.tell(Damage.CHECKPOINT, error="it is older than the manifest")
            return False
        return True

    def _read_segments(self, scan: Scan) -> None:
        last = max(self._files, default=0)
        believed = scan.shipped
        read: list[Segment] = []
        for segment in scan.segments:
            if segment.written == 0:
                self._leave_out(segment, read, scan)
                continue
            try:
                self._read_segment(segment, scan, is_last=segment.number == last)
            except OSError as error:
                self._leave_unread(segment, scan, error)
                continue
            read.append(segment)
        scan.segments = read
        unread = scan.kept if scan.shipped == believed else [*scan.kept, *read]
        if scan.shipped != believed:
            scan.unshipped_records = 0
        scan.unshipped_records += sum(count_records(one, scan.shipped) for one in unread)

    def _leave_unread(self, segment: Segment, scan: Scan, error: OSError) -> None:
        name, why = segment.path.name, error.strerror
        self._damages.tell(Damage.SEGMENT_UNREADABLE, segment=name, error=why)
        scan.unread[segment.number] = Entry(segment.written, is_unread=True)
        scan.shipped, scan.checkpoint = START, None
        for hold_id in [one for one, owing in scan.unacknowledged.items() if owing is segment]:
            del scan.unacknowledged[hold_id]

    def _leave_out(self, segment: Segment, read: list[Segment], scan: Scan) -> None:
        """Let a segment be deleted that was begun and never written to, if it is not suspicious."""
        is_suspicious = self._damages.counts.get(Damage.SEGMENT_ALTERED.value) or segment.is_stray
        (read if is_suspicious else scan.empty).append(segment)

    def _read_segment(self, segment: Segment, scan: Scan, *, is_last: bool) -> None:
        """Learn what a segment holds; cut off a line that was being written when the power went."""
        entry = self._manifest.entries.get(segment.number) if self._manifest else None
        is_open = is_last and (entry is None or entry.size_bytes is None) and not segment.is_stray
        for line in read_lines(segment.path, 0, segment.written):
            if not line.is_whole:
                scan.damaged_lines += 1
                if is_open and line.is_torn and line.end == segment.written:
                    self._cut(segment, line)
                    return
                self._tell_line(segment, line)
            if is_counted(line) and (segment.number, line.start) >= scan.shipped:
                scan.unshipped_records += 1
            if line.kind == ACKNOWLEDGED:
                for hold_id in decode_acknowledgement(line.payload):
                    _forget(scan, hold_id)
            elif line.kind == CORRECTED:
                hold_id = hold_id_of(line.payload)
                _forget(scan, hold_id)  # of a doubled segment
                segment.unacknowledged += 1
                scan.unacknowledged[hold_id] = segment

    def _tell_line(self, segment: Segment, line: Line) -> None:
        name, size_bytes = segment.path.name, len(line.payload)
        self._damages.tell(
            Damage.LINE, again=False, segment=name, offset=line.start, size_bytes=size_bytes
        )

    def _cut(self, segment: Segment, line: Line) -> None:
        """Its write never ended, so its request was not answered."""
        _tell_torn(segment, line)
        os.truncate(segment.path, line.start)
        segment.written = segment.end = line.start


def _tell_torn(segment: Segment, line: Line) -> None:
    _log.error(
        "journal.torn_line",
        segment=segment.path.name,
        offset=line.start,
        size_bytes=len(line.payload),
    )


def _forget(scan: Scan, hold_id: str) -> None:
    owing = scan.unacknowledged.pop(hold_id, None)
    if owing is not None:
        owing.unacknowledged -= 1


def count_records(segment: Segment, start: Position, end: Position | None = None) -> int:
    """Return how many records of a segment, damaged ones included, stand in a span. Blocking.

    Args:
        segment: See there.
        start: Where the span begins.
        end: Where it ends; None for the segment's end.

    Raises:
        OSError: the segment can't be read.
    """
    last = segment.end
    if end is not None and segment.number >= end.segment:
        last = end.offset if segment.number == end.segment else 0
    if segment.number < start.segment:
        return 0
    first = start.offset if segment.number == start.segment else 0
    return sum(is_counted(line) for line in read_lines(segment.path, first, last))


def is_counted(line: Line) -> bool:
    """Return whether a line is a record, or was one before it was damaged."""
    if line.kind is None:
        return may_be_record(line.payload)
    return line.kind != ACKNOWLEDGED
