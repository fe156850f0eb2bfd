"""A database file is its owner's alone, whatever the umask and the folder."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.database.engine import create_engine_for, writing
from gateway.errors import GatewayError


@contextmanager
def umask(mask: int) -> Iterator[None]:
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def use(file: Path) -> dict[str, int]:
    """Write to a database; return the modes of the files that there are meanwhile."""
    engine = create_engine_for(f"sqlite:///{file}")
    with writing(engine, GatewayError, "x") as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS notes (words text)"))
        connection.execute(text("INSERT INTO notes VALUES ('x')"))
    found = {one.name: mode_of(one) for one in file.parent.iterdir()}
    engine.dispose()
    return found


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o027, 0o077, 0o277])
def test_a_new_file_is_its_owners_alone(tmp_path: Path, mask: int) -> None:
    tmp_path.chmod(0o755)
    with umask(mask):
        modes = use(tmp_path / "ledger.db")
    assert modes == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm"), 0o600)
    assert mode_of(tmp_path) == 0o755  # another program made it


@pytest.mark.parametrize("mode", [0o644, 0o664, 0o666, 0o604])
def test_one_that_all_can_read_is_closed_with_its_companions(tmp_path: Path, mode: int) -> None:
    """Earlier releases left it to the umask; one that was killed leaves the companions behind."""
    file = tmp_path / "ledger.db"
    use(file)
    leftover = tmp_path / "ledger.db-wal"
    leftover.touch()
    for one in (file, leftover):
        one.chmod(mode)
    assert set(use(file).values()) == {0o600}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_one_that_its_group_may_read_stays_so(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "ledger.db"
    use(file)
    file.chmod(mode)
    assert set(use(file).values()) == {mode}


def test_one_of_another_user_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.db"
    use(file)
    file.chmod(0o644)

    def refused(_self: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    with capture_logs() as logs:
        use(file)
    (event,) = logs
    assert (event["event"], event["mode"]) == ("database.readable_by_all", "0644")


def test_a_file_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="name too long") as caught:
        create_engine_for(f"sqlite:///{tmp_path}/{'x' * 300}")
    assert caught.value.code == "database.not_writable"
