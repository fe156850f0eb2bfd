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
