"""Whether a ledger still has what it acknowledged: asked at each connect.

A ledger that is restored from an older copy, or whose standby took over without the last
transactions, lacks the newest events that were shipped to it. What the journal keeps is shipped to
it again; if it lacks even the oldest of that, more is lost than the journal can give back.

Source: design sections 8 and 13; docs/decisions/0022-a-damaged-journal.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import orjson

from gateway.metering.checkpoint import START
from gateway.metering.journal_format import (
    ACKNOWLEDGED,
    Position,
    decode_record,
    hold_id_of,
    parse_line,
)
from gateway.metering.journal_lines import read_lines, read_whole_lines
from gateway.metering.journal_segments import Segment
from gateway.metering.quarantine import QUARANTINE_NAME

_NEWEST_MAX: Final = 1000
_TAIL_BYTES: Final = 512 * 1024
"""Holds more than so many records of usual size."""


class EventIds(Protocol):
    """The part of a ledger that is asked."""

    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        """Return which of these events the ledger has."""
        ...


@dataclass(frozen=True, slots=True)
class WentBack:
    """What a ledger lacks that it had.

    Attributes:
        missing: How many of the events that were asked for.
        asked: How many those were.
        oldest_kept_micro: When the oldest event occurred that is kept.
        is_older_lost: It lacks that one too, and older ones were deleted: they are lost.
    """

    missing: int
    asked: int
    oldest_kept_micro: int
    is_older_lost: bool


def compare(
    ledger: EventIds, folder: Path, segments: Sequence[Segment], position: Position
) -> WentBack | None:
    """Return what a ledger lacks, None if it has all that is asked for. Blocking.

    Args:
        ledger: Asked for the newest that was shipped, and the oldest of each segment.
        folder: The journal's.
        segments: Oldest first, those that are kept included.
        position: Behind what was shipped.

    Raises:
        LedgerUnavailable: it can't be asked.
        OSError: the journal can't be read.
    """
    if position == START or not segments:
        return None
    before = [one for one in segments if one.number <= position.segment]
    firsts = [first for one in before if (first := _first_id(one, position)) is not None]
    asked = {*firsts, *_newest_ids(before, position)}
    missing = asked - ledger.known_events(sorted(asked))
    if missing:
        missing -= set(_set_aside_ids(folder))
    if not missing:
        return None
    oldest = segments[0]
    is_older_lost = bool(firsts) and firsts[0] in missing and oldest.number > 1
    return WentBack(len(missing), len(asked), _first_micro(oldest), is_older_lost)


def _first_id(segment: Segment, position: Position) -> str | None:
    end = position.offset if segment.number == position.segment else segment.end
    for line in read_whole_lines(segment.path, 0, end):
        kind, payload = parse_line(line)
        if kind is not None and kind != ACKNOWLEDGED:
            return hold_id_of(payload)
    return None


def _first_micro(segment: Segment) -> int:
    for line in read_lines(segment.path, 0, segment.end):
        if line.kind is not None and line.kind != ACKNOWLEDGED:
            with suppress(ValueError):
                return decode_record(line.payload).occurred_at_micro
    return 0


def _newest_ids(segments: Sequence[Segment], position: Position) -> list[str]:
    """Return the ids of the last records before a position, newest first."""
    found: list[str] = []
    for segment in reversed(segments):
        end = position.offset if segment.number == position.segment else segment.end
        for line in reversed(_tail(segment, end)):
            kind, payload = parse_line(line)
            if kind is not None and kind != ACKNOWLEDGED:
                found.append(hold_id_of(payload))
                if len(found) == _NEWEST_MAX:
                    return found
        if end > _TAIL_BYTES:
            break
    return found


def _tail(segment: Segment, end: int) -> list[bytes]:
    start = max(end - _TAIL_BYTES, 0)
    try:
        with segment.path.open("rb") as file:
            file.seek(start)
            lines = file.read(end - start).splitlines(keepends=True)
    except FileNotFoundError:
        return []  # its time was over meanwhile
    return lines[1:] if start else lines


def _set_aside_ids(folder: Path) -> Iterator[str]:
    """Yield the ids of records that the ledger refused: it never had them."""
    try:
        lines = (folder / QUARANTINE_NAME).read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            yield str(orjson.loads(line)["record"]["event_id"])
