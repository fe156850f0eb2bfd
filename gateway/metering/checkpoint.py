"""The journal's checkpoint: how far the ledger is, with what proves it.

A position is believed only if the line that ends there is the line that was shipped last. So
neither a flipped bit nor a checkpoint of another folder can make a record count as shipped.

Source: design sections 8 and 13; docs/decisions/0022-a-damaged-journal.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from gateway.metering.journal_format import Position, checksum
from gateway.metering.sealed_file import replace_file, sealed, unsealed

CHECKPOINT_NAME: Final = "checkpoint.json"
_VERSION: Final = 2
_LINE_BYTES_MAX: Final = 1 << 20
"""Far more than a line of the journal takes."""
START: Final = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was noted.

    Attributes:
        position: The ledger has all before it.
        journal_id: Of which folder; empty for one that was written before folders had ids.
        line_crc: CRC-32 of the line that ends at the position.
        newest: Number of the newest segment at that time.
        newest_end: How many bytes of it could be read.
    """

    position: Position
    journal_id: str = ""
    line_crc: int = 0
    newest: int = 0
    newest_end: int = 0


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Note durably that the ledger has all records of a journal before a position. Blocking.

    It is called without the folder's lock: the shipping process of a worker that was killed may
    come late. What it notes is true, if old.

    Raises:
        OSError: nothing is noted; a restart ships again what the ledger has.
    """
    values: dict[str, object] = {
        "v": _VERSION,
        **checkpoint.position._asdict(),
        "journal": checkpoint.journal_id,
        "line": checkpoint.line_crc,
        "newest": checkpoint.newest,
        "newest_end": checkpoint.newest_end,
    }
    replace_file(folder, CHECKPOINT_NAME, sealed(values))


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return what was noted; without a journal's id it is of an older release, and proves nothing.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it can't be read, or it is damaged.
    """
    content = (folder / CHECKPOINT_NAME).read_bytes()
    try:
        values = unsealed(content)
    except ValueError:
        if _is_old(content):
            return None
        raise
    numbers = [values.get(name) for name in ("segment", "offset", "line", "newest", "newest_end")]
    if values.get("v") != _VERSION or not all(_is_count(number) for number in numbers):
        raise ValueError("it is no checkpoint")
    segment, offset, line_crc, newest, newest_end = map(int, numbers)  # type: ignore[arg-type]
    journal_id = str(values.get("journal"))
    return Checkpoint(Position(segment, offset), journal_id, line_crc, newest, newest_end)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_old(content: bytes) -> bool:
    """Return whether it is whole in the form of older releases, which had no checksum."""
    values = orjson.loads(content)
    return (
        isinstance(values, dict)
        and values.keys() == {"v", "segment", "offset"}
        and values["v"] == 1
        and _is_count(values["segment"])
        and _is_count(values["offset"])
    )


def is_proven(checkpoint: Checkpoint, segment: Path) -> bool:
    """Return whether the line that ends at the position, in this file, is the one noted.

    Raises:
        OSError: the file can't be read.
    """
    offset = checkpoint.position.offset
    start = max(offset - _LINE_BYTES_MAX, 0)
    with segment.open("rb") as file:
        file.seek(start)
        before = file.read(offset - start)
    if len(before) != offset - start or not before:
        return False
    begins = before.rfind(b"\n", 0, len(before) - 1) + 1
    return checksum(before[begins:]) == checkpoint.line_crc
