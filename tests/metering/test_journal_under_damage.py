"""Whatever happens to a file of the journal's folder: nothing answered is lost, all is told."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.metering.carrier import LedgerCarrier
from gateway.metering.journal import Journal
from gateway.metering.journal_folder import JournalFolder
from gateway.metering.journal_format import ACKNOWLEDGED, encode_record
from gateway.metering.journal_kept import KeptSegments
from gateway.metering.journal_reader import JournalReader
from gateway.metering.journal_scan import Scan
from gateway.metering.quarantine import QUARANTINE_NAME
from gateway.rules.record import Record
from tests.metering.journals import FixedClock, ids, journal_in, keep, record

RECORDS = 16
SHIPPED = 9
SEGMENT = re.compile(r"\d{12}\.v1\.journal")
IMMATERIAL = {"lock", QUARANTINE_NAME}
"""Nothing is read from these."""


class Shelf:
    """A ledger: ignores what it has."""

    def __init__(self, kept: Sequence[Record] = ()) -> None:
        self.kept = {one.event_id: one for one in kept}

    def append(self, records: Sequence[Record]) -> int:
        before = len(self.kept)
        for one in records:
            self.kept.setdefault(one.event_id, one)
        return len(self.kept) - before

    def epoch(self) -> str:
        return ""

    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        return self.kept.keys() & set(event_ids)


class World(NamedTuple):
    """A folder as a stop left it, and the ledger beside it."""

    folder: Path
    records: list[Record]
    shipped: list[Record]
    before: dict[str, bytes]


def carry(journal: Journal, shelf: Shelf, limit: int) -> int:
    """Carry one batch as the shipper does."""
    carrier = LedgerCarrier(shelf, FixedClock())  # type: ignore[arg-type]
    carried = carrier.carry(journal.load(limit))
    journal.reader.mark_carried(carried.position, carried.count)
    journal.free()
    return carried.count


async def _live(folder: Path, records: list[Record], *, is_killed: bool) -> None:
    journal = journal_in(
        folder / "at work", segment_bytes_max=700, keep_seconds=3600, keep_bytes_max=1 << 20
    )
    shelf = Shelf()
    for index, one in enumerate(records):
        await keep(journal, [one])
        if index == RECORDS // 2:
            journal.acknowledge([records[1].event_id])
        await journal.flush()
        if index < SHIPPED:
            assert carry(journal, shelf, 1) == 1
    if not is_killed:
        await journal.close()
    shutil.copytree(folder / "at work", folder / "journal")
    if is_killed:
        await journal.close()
    shutil.rmtree(folder / "at work")


@pytest.fixture(scope="module", params=["stopped", "killed"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """In memory where that is possible: it is opened thousands of times."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        records = [record(number, owes=number % 2) for number in range(RECORDS)]
        asyncio.run(_live(Path(folder), records, is_killed=request.param == "killed"))
        left = Path(folder, "journal")
        yield World(left, records, records[:SHIPPED], contents(left))


class Outcome(NamedTuple):
    """What became of a damaged folder."""

    scan: Scan
    shelf: Shelf
    set_aside: str
    counted: int
    altered: int


def restarted(folder: Path, shipped: Sequence[Record]) -> Outcome:
    """Open a folder and ship it as far as that goes."""
    opened = JournalFolder(folder)
    scan = opened.open()
    kept = KeptSegments(FixedClock(), seconds=3600, bytes_max=1 << 20)
    reader = JournalReader(opened, kept, 1 << 30)
    reader.load(scan)
    altered = len(kept.altered())
    if altered:
        reader.go_back()
    shelf, set_aside, counted = Shelf(shipped), "", 0
    while True:
        batch = reader.read_unshipped(4)
        shelf.append(batch.records)
        set_aside += "".join(str(one["line"]) for one in batch.unreadable)
        counted += batch.count
        if batch.position == reader.shipped:
            break
        reader.mark_carried(batch.position, batch.count)
    opened.close()
    return Outcome(scan, shelf, set_aside, counted, altered)


def judge(world: World, folder: Path, before: dict[str, bytes]) -> None:
    """Assert what must be true of a damaged folder after a restart."""
    after = contents(folder)
    outcome = restarted(folder, world.shipped)
    readable = b"".join(text for name, text in after.items() if SEGMENT.fullmatch(name))
    for one in world.records:
        if encode_record(one)[:-1] in readable:
            assert outcome.shelf.kept.get(one.event_id) == one, "lost though its bytes are there"
    assert all(one == world.records[index_of(one)] for one in outcome.shelf.kept.values())
    assert outcome.altered or outcome.counted == outcome.scan.unshipped_records
    assert not {*outcome.scan.unacknowledged} - set(ids(world.records))
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    if changed - IMMATERIAL:
        told = sum(outcome.scan.damages.values()) + outcome.altered + outcome.scan.damaged_lines
        assert told, f"no event told of {changed}"
    still = contents(folder)
    assert after.keys() <= still.keys() | {name for name in after if not after[name]}


def index_of(one: Record) -> int:
    return int(one.event_id[-12:])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def damaged(world: World, damage: Callable[[Path], object]) -> None:
    """Damage a copy of the folder and judge it."""
    with tempfile.TemporaryDirectory(dir=world.folder.parent) as parent:
        folder = Path(parent, "journal")
        folder.mkdir()
        for name, text in world.before.items():
            (folder / name).write_bytes(text)
        before = world.before
        damage(folder)
        judge(world, folder, before)


def names(world: World) -> list[str]:
    return sorted(contents(world.folder))


def test_a_folder_that_nobody_touched_is_right_and_silent(world: World) -> None:
    with tempfile.TemporaryDirectory(dir=world.folder.parent) as parent:
        folder = Path(parent, "journal")
        shutil.copytree(world.folder, folder)
        outcome = restarted(folder, world.shipped)
        assert len(list(folder.glob("*.journal"))) > 4
    assert (outcome.scan.damages, outcome.scan.damaged_lines, outcome.altered) == ({}, 0, 0)
    assert outcome.counted == RECORDS - SHIPPED
    assert outcome.scan.kept
    assert outcome.shelf.kept == {one.event_id: one for one in world.records}


@pytest.mark.parametrize("part", range(8))
def test_whatever_bit_is_flipped(world: World, part: int) -> None:
    """One bit of each byte of a segment, each bit of each byte of the notes; an eighth a time."""
    is_open = b"null" in world.before["manifest.json"]
    for name in names(world):
        is_segment = SEGMENT.fullmatch(name) is not None
        for at in range(part, len(world.before[name]), 24 if is_open and is_segment else 8):
            for mask in [1 << at // 8 % 8] if is_segment else [1 << bit for bit in range(8)]:
                damaged(world, lambda folder: flip(folder / name, at, mask))  # noqa: B023


def flip(path: Path, at: int, mask: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


def test_whatever_line_feed_is_lost_or_made(world: World) -> None:
    for name in names(world):
        content = (world.folder / name).read_bytes()
        if not SEGMENT.fullmatch(name):
            continue
        for at in range(0, len(content), 7):
            made = content[:at] + b"\n" + content[at + 1 :]
            if made != content:
                damaged(world, lambda folder: (folder / name).write_bytes(made))  # noqa: B023
        for match in re.finditer(rb"\n", content):
            if match.end() == len(content) and name == newest(world):
                continue  # as a crash leaves it whose write lacked the last byte
            gone = content[: match.start()] + content[match.end() :]
            damaged(world, lambda folder: (folder / name).write_bytes(gone))  # noqa: B023


def test_whatever_is_zeroed(world: World) -> None:
    for name in names(world):
        size = len((world.folder / name).read_bytes())
        for at in range(0, size, 37):
            for length in (16, 300, size):
                damaged(world, lambda folder: zero(folder / name, at, length))  # noqa: B023


def zero(path: Path, at: int, length: int) -> None:
    content = path.read_bytes()
    rest = content[at + length :]
    path.write_bytes(content[:at] + bytes(len(content) - at - len(rest)) + rest)


def test_whatever_file_is_missing(world: World) -> None:
    for name in names(world):
        damaged(world, lambda folder: (folder / name).unlink())  # noqa: B023


def newest(world: World) -> str:
    return max(name for name in names(world) if SEGMENT.fullmatch(name))


def test_whatever_file_is_cut(world: World) -> None:
    """What a kill leaves open ends nowhere in particular: a cut at a line's end can't be seen."""
    is_open = b"null" in (world.folder / "manifest.json").read_bytes()
    for name in names(world):
        content = (world.folder / name).read_bytes()
        for size in range(0, len(content), 5):
            at_an_end = size == 0 or content[size - 1 : size] == b"\n"
            if not (is_open and name == newest(world) and at_an_end):
                damaged(world, lambda folder: os.truncate(folder / name, size))  # noqa: B023


@pytest.mark.parametrize("suffix", ["{} (copy)", "{}.bak", "copy of {}", ".{}.swp", "{}~"])
def test_a_copy_under_a_foreign_name_is_left_alone_and_named(world: World, suffix: str) -> None:
    for name in names(world):
        damaged(world, lambda folder: shutil.copy(folder / name, folder / suffix.format(name)))  # noqa: B023


@pytest.mark.parametrize("number", [0, 3, 6, 7, 8, 500, 10**12 - 1, 10**15])
def test_a_segment_under_another_number_is_shipped_and_left_alone(
    world: World, number: int
) -> None:
    target = f"{number:012d}.v1.journal"
    for name in names(world):
        if SEGMENT.fullmatch(name) and name != target:
            damaged(world, lambda folder: shutil.copy(folder / name, folder / target))  # noqa: B023
            damaged(world, lambda folder: (folder / name).rename(folder / target))  # noqa: B023


def test_whatever_two_files_are_swapped(world: World) -> None:
    found = names(world)
    for one in found:
        for other in found:
            if one < other:
                damaged(world, lambda folder: swap(folder / one, folder / other))  # noqa: B023


def swap(one: Path, other: Path) -> None:
    text = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(text)


def test_whatever_is_no_file(world: World) -> None:
    """A folder, a pipe, a link to nothing: none of them is waited for."""

    def replaced(path: Path, make: Callable[[Path], object]) -> None:
        path.unlink()
        make(path)

    for name in names(world):
        if SEGMENT.fullmatch(name):
            for make in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nowhere")):
                damaged(world, lambda folder: replaced(folder / name, make))  # noqa: B023


def test_an_older_checkpoint_or_manifest_of_the_same_folder(tmp_path: Path) -> None:
    """Restored from a backup: what it says was true once."""
    asyncio.run(_older(tmp_path))


async def _older(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    records = [record(number) for number in range(12)]
    journal = journal_in(folder, segment_bytes_max=700, keep_seconds=3600, keep_bytes_max=1 << 20)
    shelf, older = Shelf(), []
    for one in records:
        older.append(contents(folder))
        await keep(journal, [one])
        await journal.flush()
        if index_of(one) < 8:
            carry(journal, shelf, 1)
    await journal.close()
    for content in older:
        for chosen in (
            ("checkpoint.json",),
            ("manifest.json",),
            ("checkpoint.json", "manifest.json"),
        ):
            copy = tmp_path / "copy"
            shutil.copytree(folder, copy)
            for name in chosen:
                (copy / name).write_bytes(content[name])
            outcome = restarted(copy, records[:8])
            assert outcome.shelf.kept == {one.event_id: one for one in records}
            shutil.rmtree(copy)


def test_the_notes_of_another_folder_are_not_believed(world: World) -> None:
    """Lines of the same length and all: only the line before a position proves it."""
    with tempfile.TemporaryDirectory(dir=world.folder.parent) as parent:
        others = [record(number + 500, owes=number % 2) for number in range(RECORDS)]
        asyncio.run(_live(Path(parent), others, is_killed=False))
        theirs = contents(Path(parent, "journal"))

    def take(folder: Path, *taken: str) -> None:
        for name in taken:
            (folder / name).write_bytes(theirs[name])

    damaged(world, lambda folder: take(folder, "checkpoint.json"))
    damaged(world, lambda folder: take(folder, "manifest.json"))
    damaged(world, lambda folder: take(folder, "checkpoint.json", "manifest.json"))


DAMAGES: dict[str, Callable[[Path, int, int], object]] = {
    "flip": lambda path, at, size: flip(path, at % size, 1 << at % 8),
    "zero": lambda path, at, size: zero(path, at % size, 40),
    "cut": lambda path, at, size: os.truncate(path, at % size),
    "gone": lambda path, _at, _size: path.unlink(),
    "copy": lambda path, at, _size: (path.parent / f"{at % 9:012d}.v1.journal").write_bytes(
        path.read_bytes()
    ),
    "bak": lambda path, _at, _size: (path.parent / "other.bak").write_bytes(path.read_bytes()),
}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(DAMAGES)), st.integers(0, 20), st.integers(0, 4000)),
        min_size=1,
        max_size=4,
    )
)
@example(chosen=[("zero", 12, 1441)])  # a line feed, and the beginning of the line behind it
def test_whatever_comes_together(world: World, chosen: list[tuple[str, int, int]]) -> None:
    """Two damages may hide each other; none may lose what is there."""
    with tempfile.TemporaryDirectory(dir=world.folder.parent) as parent:
        folder = Path(parent, "journal")
        shutil.copytree(world.folder, folder)
        for kind, index, at in chosen:
            found = sorted(path for path in folder.iterdir() if path.stat().st_size)
            if found:
                path = found[index % len(found)]
                DAMAGES[kind](path, at, path.stat().st_size)
        after = contents(folder)
        outcome = restarted(folder, world.shipped)
        readable = b"".join(text for name, text in after.items() if SEGMENT.fullmatch(name))
        for one in world.records:
            if encode_record(one)[:-1] in readable:
                assert outcome.shelf.kept.get(one.event_id) == one
        assert outcome.altered or outcome.counted == outcome.scan.unshipped_records


def test_lines_that_acknowledge_are_there_to_be_damaged(world: World) -> None:
    """The exhaustive tests above would prove less without."""
    lines = b"".join(contents(world.folder).values()).splitlines()
    assert any(line.startswith(ACKNOWLEDGED) for line in lines)
