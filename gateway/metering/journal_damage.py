"""What may be wrong with the journal's folder: told once each, as event, metric and note.

Source: design sections 8 and 13; docs/operations/failure-modes.md.
"""

from enum import StrEnum
from typing import Final

import structlog

from gateway.telemetry.metrics import Stats

_log = structlog.get_logger("journal")


class Damage(StrEnum):
    """Kinds of damage; the values are labels of a metric and words of ``/readyz``."""

    CHECKPOINT = "checkpoint"
    MANIFEST = "manifest"
    SEGMENT_MISSING = "segment_missing"
    SEGMENT_ALTERED = "segment_altered"
    SEGMENT_UNREADABLE = "segment_unreadable"
    SEGMENT_UNKNOWN = "segment_unknown"
    LINE = "line"
    FOREIGN_FILE = "foreign_file"


_EVENTS: Final = {
    Damage.CHECKPOINT: "journal.checkpoint_unreadable",
    Damage.MANIFEST: "journal.manifest_unreadable",
    Damage.SEGMENT_MISSING: "journal.segment_missing",
    Damage.SEGMENT_ALTERED: "journal.segment_altered",
    Damage.SEGMENT_UNREADABLE: "journal.segment_unreadable",
    Damage.SEGMENT_UNKNOWN: "journal.segment_unknown",
    Damage.LINE: "journal.damaged_line",
    Damage.FOREIGN_FILE: "journal.foreign_file",
}
_HINTS: Final = {
    Damage.CHECKPOINT: "nothing to do: what is held is shipped again, the ledger ignores what it "
    "has; see what wrote to this folder",
    Damage.MANIFEST: "nothing to do: what is held is shipped again; a missing segment may not be "
    "noticed this time",
    Damage.SEGMENT_MISSING: "put the file back and start again, if it is anywhere: its records "
    "are on no bill",
    Damage.SEGMENT_ALTERED: "what can be read of it is shipped; put the whole file back and start "
    "again, if it is anywhere",
    Damage.SEGMENT_UNREADABLE: "let this user read the file, or mend the disk, and start again: "
    "its records are not shipped until then",
    Damage.SEGMENT_UNKNOWN: "it is shipped and left alone; remove it once you know whose it is",
    Damage.LINE: "its bytes are set aside in quarantine.jsonl; see that the disk works",
    Damage.FOREIGN_FILE: "it is left alone; remove it, or give it its right name and start again",
}


class Damages:
    """Counts what is found and logs it.

    Args:
        folder: The journal's.
        counts: What to count on with.

    Attributes:
        counts: By kind.
        needs_again: Whether the note of what is shipped can't be believed any more.
    """

    def __init__(self, folder: str, counts: dict[str, int] | None = None) -> None:
        self._folder = folder
        self.counts = {} if counts is None else counts
        self.needs_again = False

    def tell(self, kind: Damage, *, again: bool = True, **facts: object) -> None:
        """Note one.

        Args:
            kind: What.
            again: Whether what is held must be shipped again for it.
            facts: For the log.
        """
        self.counts[kind.value] = self.counts.get(kind.value, 0) + 1
        self.needs_again = self.needs_again or again
        _log.error(_EVENTS[kind], folder=self._folder, hint=_HINTS[kind], **facts)


def notices(stats: Stats) -> list[str]:
    """Return what an operator must look at, though this worker serves; empty if nothing."""
    noticed = [f"journal damaged: {kind}" for kind in sorted(stats.journal.damage)]
    if stats.shipper.ledger_went_back:
        noticed.append("ledger went back")
    if stats.shipper.ledger_gaps:
        noticed.append("ledger lost more than the journal keeps")
    return noticed
