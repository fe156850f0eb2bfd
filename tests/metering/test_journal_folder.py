"""The journal's folder: one process, one format, atomic notes, ends mended."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.metering.journal_folder import JournalFolder, write_checkpoint
from gateway.metering.journal_format import Position, encode_acknowledgement, encode_record
from tests.metering.journals import record

LINES = [encode_record(record(number, owes=number % 2)) for number in range(4)]
SEGMENT = "000000000007.v1.journal"


def test_two_processes_can_not_share_a_folder(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path)
    folder.open()
    code = (
        "import sys; from pathlib import Path; from gateway.errors import GatewayError\n"
        "from gateway.metering.journal_folder import JournalFolder\n"
        "try: JournalFolder(Path(sys.argv[1])).open()\n"
        "except GatewayError as error: print(error.code, error.message, error.hint, sep='|')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    locked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert locked.stdout.startswith("journal.locked|another process (pid ")
    assert str(os.getpid()) in locked.stdout
    assert "folder of its own" in locked.stdout
    folder.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_folder_without_permission_is_named_with_what_to_do() -> None:
    """Run in a child as another user where this one is root, to whom everything is permitted."""
    with TemporaryDirectory() as parent, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, from 3.12 on
        Path(parent).chmod(0o755)
        folder = Path(parent, "journal")
        folder.mkdir(mode=0o555)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            os._exit(_open_as_nobody(folder))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _open_as_nobody(folder: Path) -> int:  # pragma: no cover - another process
    try:
        if os.getuid() == 0:
            os.setuid(65534)
        JournalFolder(folder).open()
    except GatewayError as error:
        is_explained = error.code == "journal.unwritable" and "permission" in error.hint
        return 0 if is_explained else 8
    return 9


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(GatewayError, match="can't be used") as refused:
        JournalFolder(tmp_path / "journal").open()
    assert refused.value.hint


def test_a_segment_of_a_later_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "000000000001.v2.journal").write_bytes(b"x")
    folder = JournalFolder(tmp_path)
    with pytest.raises(GatewayError) as refused:
        folder.open()
    assert refused.value.code == "journal.format_unknown"
    JournalFolder(tmp_path).path.joinpath("000000000001.v2.journal").unlink()
    folder.open()  # the lock was given back
    folder.close()


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
    assert (tmp_path / SEGMENT).exists() == (cut > 0)
    assert not cut or (tmp_path / SEGMENT).stat().st_size == good
    assert len(scan.unacknowledged) == len(whole) // 2


def test_a_damaged_line_amid_good_ones_waits_to_be_set_aside(tmp_path: Path) -> None:
    """Whoever ships it keeps its bytes; a damaged acknowledgement was no record."""
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


def test_the_checkpoint_counts_what_is_left(tmp_path: Path) -> None:
    (tmp_path / SEGMENT).write_bytes(b"".join(LINES))
    folder = JournalFolder(tmp_path)
    folder.open()
    write_checkpoint(tmp_path, Position(7, len(LINES[0])))
    folder.close()
    scan = folder.open()
    folder.close()
    assert scan.shipped == Position(7, len(LINES[0]))
    assert (scan.unshipped_records, scan.next_number) == (3, 8)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"segment":"x","offset":1}'])
def test_an_unreadable_checkpoint_ships_from_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.json").write_bytes(content)
    folder = JournalFolder(tmp_path)
    assert folder.open().shipped == Position(0, 0)
    folder.close()


def test_a_crash_before_the_rename_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path)
    folder.open()
    write_checkpoint(tmp_path, Position(3, 30))
    unfinished = tmp_path / "checkpoint.json.4711"
    unfinished.write_bytes(b'{"segm')
    folder.close()
    assert folder.open().shipped == Position(3, 30)
    folder.close()
    assert not unfinished.exists()


def test_numbers_are_never_used_twice(tmp_path: Path) -> None:
    """A power loss may take a segment whose records are shipped; its number stays behind."""
    folder = JournalFolder(tmp_path)
    folder.open()
    write_checkpoint(tmp_path, Position(9, 100))
    folder.close()
    assert folder.open().next_number == 10
    folder.close()


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path)
    folder.open()
    folder.probe()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]
    folder.close()
