"""Records and journals for the tests of this folder."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gateway.clock import Clock
from gateway.metering.checkpoint import Checkpoint, write_checkpoint
from gateway.metering.journal import Journal
from gateway.metering.journal_format import checksum
from gateway.metering.journal_reader import Unshipped
from gateway.metering.recorder import Callback
from gateway.rules.record import Outcome, Record
from gateway.telemetry.metrics import JournalStats

NOW_MICRO = 1_795_132_800_000_000
"""2026-11-20T00:00:00Z."""


class FixedClock(Clock):
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.at_micro = NOW_MICRO

    def now_micro(self) -> int:
        return self.at_micro

    def monotonic_micro(self) -> int:
        return self.at_micro


def record(number: int, *, owes: int = 0, **changes: object) -> Record:
    """Return a record; ``owes`` gives it a correction of so many units."""
    values: dict[str, object] = {
        "event_id": f"0193b0c0-0000-7000-8000-{number:012d}",
        "request_id": f"req-{number}",
        "occurred_at_micro": NOW_MICRO + number,
        "workspace_id": "ws_acme",
        "key_id": "key_1",
        "plan": "STARTER",
        "route": "create-run",
        "method": "POST",
        "run_id": None,
        "status": 200,
        "outcome": Outcome.COMPLETED.value,
        "code": None,
        "billable": True,
        "reason": "success",
        "repeat": False,
        "quantities_micro": {"dc": 1_000_000},
        "charged_micro": {"dc": 1_000_000},
        "pricing_version": "0.2.1",
        "period": "2026-11",
    }
    if owes:
        values["deltas"] = [["usage:{ws_acme}:2026-11", owes * 1_000_000, 1_806_537_600]]
    return Record(**{**values, **changes})  # type: ignore[arg-type]


def journal_in(
    folder: Path,
    *,
    fsync_seconds: float = 60.0,
    segment_bytes_max: int = 1 << 20,
    bytes_max: int = 1 << 30,
    probe_seconds: float = 0.005,
    stats: JournalStats | None = None,
    clock: FixedClock | None = None,
    keep_seconds: float = 0.0,
    keep_bytes_max: int = 0,
    reserve_bytes: int = 0,
) -> Journal:
    """Return an opened journal."""
    journal = Journal(
        folder,
        clock=clock or FixedClock(),
        stats=stats or JournalStats(),
        fsync_seconds=fsync_seconds,
        segment_bytes_max=segment_bytes_max,
        bytes_max=bytes_max,
        probe_seconds=probe_seconds,
        keep_seconds=keep_seconds,
        keep_bytes_max=keep_bytes_max,
        reserve_bytes=reserve_bytes,
    )
    journal.open()
    return journal


async def keep(journal: Journal, records: Sequence[Record]) -> list[bool]:
    """Append records in one tick and return what each was told."""
    told = [asyncio.get_running_loop().create_future() for _ in records]
    for one, future in zip(records, told, strict=True):
        journal.append(one, Callback(future.set_result))
    return list(await asyncio.gather(*told))


async def until(condition: object, *, rounds: int = 4000) -> None:
    """Let the loop turn until ``condition()`` holds; fails if it never does."""
    assert callable(condition)
    for _ in range(rounds):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to be")


def ids(records: Sequence[Record]) -> list[str]:
    """Return the event ids."""
    return [one.event_id for one in records]


def ship(journal: Journal) -> list[Record]:
    """Take everything that is unshipped and mark it as shipped."""
    return mark(journal, journal.reader.read_unshipped(1_000_000))


def mark(journal: Journal, batch: Unshipped) -> list[Record]:
    """Do with a batch what is done with one that was carried."""
    load = journal.load(1)
    noted = Checkpoint(batch.position, load.journal_id, checksum(batch.last_line))
    write_checkpoint(journal.directory, noted)
    journal.reader.mark_carried(batch.position, batch.count)
    journal.free()
    return batch.records
