"""Where goes what can't be delivered: ``quarantine.jsonl`` in the journal's folder, never the bin.

An operator reads it and corrects the cause; no command brings its records to the ledger. Lines may
repeat after a crash: the record's event id says which are the same.

Source: design section 8 ("nothing is dropped silently").
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import orjson

QUARANTINE_NAME: Final = "quarantine.jsonl"


def set_aside(directory: Path, entries: Iterable[Mapping[str, object]]) -> None:
    """Append entries, one JSON object a line, and force them to the disk. Blocking.

    Raises:
        OSError: they could not be written; what was to be set aside must stay where it is.
    """
    lines = b"".join(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE) for entry in entries)
    descriptor = os.open(
        directory / QUARANTINE_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    with os.fdopen(descriptor, "ab") as file:
        file.write(_line_feed(directory / QUARANTINE_NAME) + lines)
        file.flush()
        os.fsync(file.fileno())


def _line_feed(path: Path) -> bytes:
    """Return what ends a last line that a crash cut, so that the next one stands for itself."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return b"" if file.read(1) in {b"", b"\n"} else b"\n"
