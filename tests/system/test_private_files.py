"""What the gateway creates is its user's alone, whatever umask and folder it finds."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.scripted_upstream import ScriptedUpstream


def others_may(folder: Path) -> dict[str, str]:
    """Return the modes of what group or others may use, by path."""
    found = {}
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077:
            found[str(path.relative_to(folder))] = f"{mode:04o}"
    return found


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("is_made_by_hand", [True, False])
def test_nobody_else_reads_a_ledger_keys_or_a_journal(
    tmp_path: Path, upstream: ScriptedUpstream, mask: int, *, is_made_by_hand: bool
) -> None:
    folder = tmp_path / "var" / "gateway"
    gateway = GatewayProcess(tmp_path, upstream.port, top=f"keys: sqlite:///{folder}/keys.db")
    text = gateway.config.read_text().replace(f"data_dir: {tmp_path}/data", f"data_dir: {folder}")
    gateway.config.write_text(text)
    if is_made_by_hand:
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    former = os.umask(mask)
    try:
        gateway.start()
        secret = gateway.make_key("STARTER")
        assert gateway.call(secret).status_code == 200
        gateway.wait_for_records(1)
        while_it_runs = others_may(folder)
        assert gateway.stop() == 0
    finally:
        os.umask(former)
    assert while_it_runs == {}
    assert others_may(folder) == {}
    assert (folder / "ledger.db").exists()
    assert (folder / "keys.db").exists()
    if not is_made_by_hand:
        assert others_may(tmp_path / "var") == {}
