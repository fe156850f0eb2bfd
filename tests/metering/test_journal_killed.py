"""A journal that is killed at any step raises no alarm at the next start, and loses nothing."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.metering import journal_segments
from gateway.metering.journal import Journal
from gateway.telemetry.metrics import JournalStats
from tests.metering.journals import FixedClock, ids, journal_in, keep, mark, record, ship

RECORDS = 10
KILLED = 7
CALLS = ("open", "fsync", "replace", "rename", "unlink", "ftruncate", "truncate", "write")
"""Of ``os``: what changes a folder."""


class Life:
    """A journal's life in a process of its own, with a ledger and callers beside it.

    Args:
        folder: Holds all three.
    """

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "journal"
        self._answered, self._shipped = folder / "answered", folder / "shipped"

    async def live(self) -> None:
        """Write segment after segment, ship some, let the oldest go, ship what is kept again."""
        clock = FixedClock()
        journal = journal_in(
            self.journal,
            fsync_seconds=0.0001,
            segment_bytes_max=2048,
            keep_seconds=10,
            keep_bytes_max=9000,
            clock=clock,
        )
        for number in range(RECORDS):
            one = record(os.getpid() * 1000 + number)
            await keep(journal, [one])
            _note(self._answered, [one.event_id])
            await asyncio.sleep(0.001)
            if number % 4 == 3:
                self._ship(journal)
            clock.at_micro += 1_500_000
            journal.free()
            if number == RECORDS // 2:
                journal.reader.go_back()
        await journal.close()

    async def end_soon(self) -> None:
        """Begin, and be killed before anything is written."""
        journal_in(self.journal)
        os._exit(KILLED)

    async def begin_again(self) -> dict[str, int]:
        """Return what a new start finds wrong; it ships what is left."""
        stats = JournalStats()
        journal = journal_in(self.journal, stats=stats)
        _note(self._shipped, ids(ship(journal)))
        await journal.close()
        return stats.damage

    @property
    def lost(self) -> set[str]:
        """What was answered and is in no ledger."""
        return _noted(self._answered) - _noted(self._shipped)

    def _ship(self, journal: Journal) -> None:
        batch = journal.reader.read_unshipped(1000)
        _note(self._shipped, ids(batch.records))
        if batch.records:
            mark(journal, batch)


def _note(file: Path, lines: list[str]) -> None:
    with file.open("a") as opened:
        opened.write("".join(f"{line}\n" for line in lines))


def _noted(file: Path) -> set[str]:
    return set(file.read_text().split()) if file.exists() else set()


def _nothing(_descriptor: int) -> None:
    """Do as a fast disk does."""


@contextmanager
def killing_at(step: int) -> Iterator[None]:
    """End this process at so many calls that change the journal's folder."""
    left = step

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def count(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(KILLED)
            return call(*arguments, **named)

        return count

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            is_needed = name != "fsync"  # a kill is no loss of power
            patch.setattr(os, name, counted(getattr(os, name) if is_needed else _nothing))
        patch.setattr(journal_segments, "_write", os.write)
        yield


def in_a_process(work: Callable[[], object]) -> int:
    """Return the exit code."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - it must not go on as the tests' process
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _live_until(life: Life, step: int) -> None:
    with killing_at(step):
        asyncio.run(life.live())


BEFORE: dict[str, Callable[[Life], object]] = {
    "a new folder": lambda _life: None,
    "a stop": lambda life: in_a_process(lambda: asyncio.run(life.live())),
    "a kill": lambda life: in_a_process(lambda: _live_until(life, 50)),
    "a kill before the first record": lambda life: in_a_process(
        lambda: asyncio.run(life.end_soon())
    ),
}


@pytest.mark.parametrize("before", BEFORE)
def test_a_kill_at_any_step_is_no_damage(tmp_path: Path, before: str) -> None:
    (tmp_path / "before").mkdir()
    BEFORE[before](Life(tmp_path / "before"))
    for step in range(1, 500):
        life = Life(shutil.copytree(tmp_path / "before", tmp_path / str(step)))
        ended = in_a_process(lambda life=life, step=step: _live_until(life, step))  # type: ignore[misc]
        assert ended in {0, KILLED}
        assert asyncio.run(life.begin_again()) == {}, step
        assert life.lost == set(), step
        if ended == 0:
            assert step > RECORDS
            return
    raise AssertionError("it never ended")
