"""The journal's folder: one process, one format."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.errors import GatewayError
from gateway.metering.journal_folder import JournalFolder


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
    (tmp_path / "lock").unlink()
    still = subprocess.run(command, capture_output=True, text=True, check=True)
    assert still.stdout.startswith("journal.locked|")
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


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = JournalFolder(tmp_path)
    folder.open()
    folder.probe()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]
    folder.close()
