"""The journal's manifest: which segments there are, so that a missing one is noticed.

Written when a segment is begun, closed, shipped or deleted, which is seldom: every 64 MB or so.

Source: design sections 8 and 13; docs/decisions/0022-a-damaged-journal.md.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment
from gateway.metering.sealed_file import replace_file, sealed, unsealed

MANIFEST_NAME: Final = "manifest.json"
_VERSION: Final = 1
_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one segment.

    Attributes:
        size_bytes: Its size once nothing more is written to it, else None.
        is_shipped: The ledger has all of it, and nothing in it is owed to the counter store.
        crc: CRC-32 of the whole file, of shipped ones.
        is_unread: It could not be read when the journal was opened: its records are not shipped.
        is_leaving: It is not needed, and its file is about to be deleted: it may be gone.
    """

    size_bytes: int | None
    is_shipped: bool = False
    crc: int | None = None
    is_unread: bool = False
    is_leaving: bool = False


@dataclass(slots=True)
class Manifest:
    """The segments of one folder.

    Attributes:
        journal_id: Made at random with the folder.
        entries: By number.
        is_first: It is the first one of a folder: of a checkpoint nothing can be expected yet.
    """

    journal_id: str = field(default_factory=lambda: secrets.token_hex(_ID_BYTES))
    entries: dict[int, Entry] = field(default_factory=dict)
    is_first: bool = False


def entries_of(segments: Iterable[Segment], shipped: Position) -> dict[int, Entry]:
    """Return what a manifest says of segments; what is no part of the journal is left out."""
    return {one.number: _entry_of(one, shipped) for one in segments if not one.is_stray}


def _entry_of(segment: Segment, shipped: Position) -> Entry:
    is_shipped = segment.spent_at_micro >= 0 and segment.is_behind(shipped)
    return Entry(segment.written if segment.is_sealed else None, is_shipped, segment.crc)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest durably. Blocking. Raises ``OSError``."""
    segments = [
        [number, one.size_bytes, one.is_shipped, one.crc, one.is_unread, one.is_leaving]
        for number, one in sorted(manifest.entries.items())
    ]
    values: dict[str, object] = {
        "v": _VERSION,
        "journal": manifest.journal_id,
        "first": manifest.is_first,
    }
    replace_file(folder, MANIFEST_NAME, sealed({**values, "segments": segments}))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it can't be read, or it is damaged.
    """
    values = unsealed((folder / MANIFEST_NAME).read_bytes())
    segments = values.get("segments")
    if values.get("v") != _VERSION or not isinstance(segments, list):
        raise ValueError("it is no manifest")
    try:
        entries = {int(number): Entry(*rest) for number, *rest in segments}
    except TypeError as error:
        raise ValueError("it is no manifest") from error
    return Manifest(str(values.get("journal")), entries, values.get("first") is True)
