"""What can't be delivered is kept where an operator finds it."""

import json
from pathlib import Path

from gateway.metering.quarantine import QUARANTINE_NAME, set_aside


def test_entries_are_added_one_a_line(tmp_path: Path) -> None:
    set_aside(tmp_path, [{"reason": "refused", "record": {"event_id": "a"}}, {"reason": "damaged"}])
    set_aside(tmp_path, [{"reason": "unreadable"}])
    lines = (tmp_path / QUARANTINE_NAME).read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["refused", "damaged", "unreadable"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    set_aside(tmp_path, [{"reason": "refused"}])
    assert (tmp_path / QUARANTINE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_spoils_no_other(tmp_path: Path) -> None:
    """Nor does whatever else stands there: nothing of it is read back."""
    file = tmp_path / QUARANTINE_NAME
    for before in (b"", b'{"reason": "dam', b"\xff\x00", b'{"whole": 1}\n'):
        file.write_bytes(before)
        set_aside(tmp_path, [{"number": 1}, {"number": 2}])
        first, second = file.read_bytes().splitlines()[-2:]
        assert (json.loads(first), json.loads(second)) == ({"number": 1}, {"number": 2})
        assert file.read_bytes().startswith(before)
