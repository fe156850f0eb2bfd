"""What a folder holds when it is opened: ends mended, nothing believed without proof."""

import asyncio
import os
import shutil
import warnings
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.metering.checkpoint import Checkpoint, write_checkpoint
from gateway.metering.journal_folder import JournalFolder
from gateway.metering.journal_format import (
    Position,
    checksum,
    encode_acknowledgement,
    encode_record,
)
from gateway.metering.journal_scan import Scan
from gateway.metering.manifest import Entry, Manifest, write_manifest
from tests.metering.journals import ids, journal_in, keep, record, ship, until

LINES = [encode_record(record(number, owes=number % 2)) for number in range(4)]
SEGMENT = "000000000007.v1.journal"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(cut=st.integers(0, sum(map(len, LINES))))
def test_a_segment_torn_at_any_byte_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    """X6: whatever byte the power went at, whole lines stay and the torn one goes, loudly."""
    tmp_path = tmp_path_factory.mktemp("torn")
    (tmp_path / SEGMENT).write_bytes(b"".join(LINES)[:cut])
    ends = [sum(map(len, LINES[: count + 1])) for count in range(len(LINES))]
    whole = [end for end in ends if end <= cut]
    folder = JournalFolder(tmp_path)
    scan = folder.open()
    folder.close()
    good = whole[-1] if whole else 0
    assert scan.unshipped_records == len(whole)
    assert scan.damaged_lines == (1 if cut > good else 0)
    assert [one.path.name for one in scan.empty] == ([] if cut else [SEGMENT])
    assert not cut or (tmp_path / SEGMENT).stat().st_size == good
    assert len(scan.unacknowledged) == len(whole) // 2


def test_a_damaged_line_amid_good_ones_waits_to_be_set_aside(tmp_path: Path) -> None:
    """The shipper keeps its bytes; a damaged acknowledgement was no record."""
    damaged = LINES[1].replace(b"STARTER", b"GRATIS!")
    acknowledgement = encode_acknowledgement(["x"]).replace(b"x", b"y")
    (tmp_path / SEGMENT).write_bytes(LINES[0] + damaged + acknowledgement + LINES[2])
    folder = JournalFolder(tmp_path)
    scan = folder.open()
    folder.close()
    assert (scan.damaged_lines, scan.unshipped_records) == (2, 3)
    assert damaged in (tmp_path / SEGMENT).read_bytes()


def test_acknowledged_corrections_are_not_owed(tmp_path: Path) -> None:
    acknowledgement = encode_acknowledgement([record(1).event_id, "unknown"])
    (tmp_path / SEGMENT).write_bytes(LINES[1] + LINES[3] + acknowledgement)
    folder = JournalFolder(tmp_path)
    scan = folder.open()
    folder.close()
    assert list(scan.unacknowledged) == [record(3).event_id]
    assert scan.segments[0].unacknowledged == 1


def noted(folder: Path, number: int, *lines: bytes, open_: int | None = None) -> Position:
    """Write what says that these lines of a segment are shipped; return the position."""
    position = Position(number, sum(map(len, lines)))
    checkpoint = Checkpoint(position, "me", checksum(lines[-1]), number, position.offset)
    write_checkpoint(folder, checkpoint)
    sizes = {int(path.name[:12]): path.stat().st_size for path in folder.glob("*.journal")}
    entries = {one: Entry(None if one == open_ else size) for one, size in sizes.items()}
    write_manifest(folder, Manifest("me", entries))
    return position


def scanned(folder: Path) -> Scan:
    opened = JournalFolder(folder)
    scan = opened.open()
    opened.close()
    return scan


def test_the_checkpoint_counts_what_is_left(tmp_path: Path) -> None:
    (tmp_path / SEGMENT).write_bytes(b"".join(LINES))
    position = noted(tmp_path, 7, LINES[0])
    scan = scanned(tmp_path)
    assert scan.shipped == position
    assert (scan.unshipped_records, scan.next_number, scan.damages) == (3, 8, {})


def test_what_an_older_release_noted_is_shipped_again(tmp_path: Path) -> None:
    """It has no checksum: any flipped digit may lie at another line's end."""
    (tmp_path / SEGMENT).write_bytes(b"".join(LINES))
    old = b'{"v":1,"segment":7,"offset":%d}' % len(LINES[0])
    (tmp_path / "checkpoint.json").write_bytes(old)
    scan = scanned(tmp_path)
    assert (scan.shipped, scan.unshipped_records, scan.damages) == (Position(0, 0), 4, {})


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"7", b'{"segment":"x","offset":1}', b"\xff\xfe"]
    + [b'{"v":1,"segment":%s,"offset":%s}' % values for values in [
        (b"-1", b"0"), (b"true", b"0"), (b"1.5", b"0"), (b"null", b"0"), (b'"7"', b"0"),
        (b"7", b"-1"), (b"7", b"[]"), (b"7", b"1e999"), (b"1e3", b"0"),
    ]],
)  # fmt: skip
def test_an_unreadable_checkpoint_ships_from_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SEGMENT).write_bytes(b"".join(LINES))
    noted(tmp_path, 7, LINES[0])
    (tmp_path / "checkpoint.json").write_bytes(content)
    scan = scanned(tmp_path)
    assert (scan.shipped, scan.unshipped_records) == (Position(0, 0), 4)
    assert scan.damages == {"checkpoint": 1}


@pytest.mark.parametrize(
    "position",
    [Position(7, 5), Position(7, 0), Position(8, 0), Position(999, 0), Position(10**17, 10**17)],
)
def test_a_position_that_no_shipped_line_proves_is_not_believed(
    tmp_path: Path, position: Position
) -> None:
    """Even with a checksum that is right: a copy of another folder's has that too."""
    (tmp_path / SEGMENT).write_bytes(b"".join(LINES))
    noted(tmp_path, 7, LINES[0])
    write_checkpoint(tmp_path, Checkpoint(position, "me", checksum(LINES[0])))
    scan = scanned(tmp_path)
    assert (scan.shipped, scan.unshipped_records) == (Position(0, 0), 4)
    assert scan.damages == {"checkpoint": 1}


def test_a_checkpoint_of_another_folder_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / SEGMENT).write_bytes(b"".join(LINES))
    position = noted(tmp_path, 7, LINES[0])
    write_checkpoint(tmp_path, Checkpoint(position, "other", checksum(LINES[0])))
    assert scanned(tmp_path).damages == {"checkpoint": 1}


def test_a_segment_that_can_not_be_read_waits_until_it_can() -> None:
    """In a child as another user where this one is root, to whom everything is permitted."""
    with TemporaryDirectory() as parent, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, from 3.12 on
        folder = Path(parent, "journal")
        folder.mkdir()
        for number, line in enumerate(LINES, 1):
            (folder / f"{number:012d}.v1.journal").write_bytes(line)
        noted(folder, 1, LINES[0])
        if os.getuid() == 0:
            for path in (Path(parent), folder, *folder.iterdir()):
                os.chown(path, 65534, 65534)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            os._exit(_opened_with_one_unreadable(folder))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _opened_with_one_unreadable(folder: Path) -> int:  # pragma: no cover - another process
    if os.getuid() == 0:
        os.setuid(65534)
    hidden = folder / "000000000003.v1.journal"
    hidden.chmod(0)
    journal = journal_in(folder)
    if ids(ship(journal)) != ids([record(0), record(1), record(3)]):
        return 7
    if journal._stats.damage != {"segment_unreadable": 1} or not hidden.exists():
        return 8
    asyncio.run(journal.close())
    hidden.chmod(0o600)
    again = journal_in(folder)
    return 0 if record(2).event_id in ids(ship(again)) else 9


def test_a_crash_before_the_rename_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    (tmp_path / SEGMENT).write_bytes(b"".join(LINES))
    position = noted(tmp_path, 7, LINES[0])
    unfinished = [tmp_path / "checkpoint.json.4711", tmp_path / "manifest.json.12"]
    for path in unfinished:
        path.write_bytes(b'{"segm')
    scan = scanned(tmp_path)
    assert (scan.shipped, scan.damages) == (position, {})
    assert not any(path.exists() for path in unfinished)


def test_numbers_are_never_used_twice(tmp_path: Path) -> None:
    """A power loss may take a segment whose records are shipped; its number stays behind."""
    write_checkpoint(tmp_path, Checkpoint(Position(9, 100), "me"))
    write_manifest(tmp_path, Manifest("me", {}))
    assert scanned(tmp_path).next_number == 10


def foreign_directory(folder: Path, name: str) -> None:
    (folder / name).mkdir()


def foreign_copy(folder: Path, name: str) -> None:
    shutil.copy(folder / "000000000001.v1.journal", folder / name)


@pytest.mark.parametrize(
    ("put", "name", "damage"),
    [
        (foreign_directory, "000000000002.v1.journal", "foreign_file"),
        (foreign_directory, "checkpoint.json.77", "foreign_file"),
        (foreign_copy, "0000000000001.v1.journal", "foreign_file"),
        (foreign_copy, "999999999999999999.v1.journal", "foreign_file"),
        (foreign_copy, "999999999999.v1.journal", "segment_unknown"),
    ],
)
async def test_a_foreign_name_keeps_nothing_from_being_written_or_shipped(
    tmp_path: Path, put: Callable[[Path, str], object], name: str, damage: str
) -> None:
    """A folder, another way to write a number, a number behind which there is none."""
    journal = journal_in(tmp_path)
    await keep(journal, [record(1)])
    await journal.close()
    put(tmp_path, name)
    for number in (2, 3):
        journal = journal_in(tmp_path)
        assert journal._stats.damage == {damage: 1}
        await keep(journal, [record(number)])
        expected = [1, 2, 3][:number]
        found = dict.fromkeys(ids(journal.reader.read_unshipped(100).records))
        assert sorted(found) == ids([record(one) for one in expected])
        await journal.close()
    assert (tmp_path / name).exists()


async def test_an_older_release_left_numbers_out(tmp_path: Path) -> None:
    """It deleted segments that were begun and never written to, and counted on."""
    (tmp_path / "000000000001.v1.journal").write_bytes(LINES[0])
    (tmp_path / "000000000003.v1.journal").write_bytes(LINES[2])
    (tmp_path / "checkpoint.json").write_bytes(b'{"v":1,"segment":0,"offset":0}')
    journal = journal_in(tmp_path)
    assert journal._stats.damage == {}
    assert ids(ship(journal)) == ids([record(0), record(2)])
    await journal.close()


async def test_a_disk_that_was_full_leaves_no_numbers_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_in(tmp_path)
    await keep(journal, [record(1)])
    tries = 0

    def full() -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise OSError(ENOSPC, "full")

    monkeypatch.setattr(JournalFolder, "probe", lambda _folder: full())
    journal._stop_writing()
    await until(lambda: journal.is_available)
    await journal.close()
    names = sorted(path.name for path in tmp_path.glob("*.journal"))
    assert names == ["000000000001.v1.journal", "000000000002.v1.journal"]
