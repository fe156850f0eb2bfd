"""A manifest says which segments there are."""

from pathlib import Path

import pytest

from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment
from gateway.metering.manifest import Entry, Manifest, entries_of, read_manifest, write_manifest
from gateway.metering.sealed_file import sealed


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = {
        3: Entry(90, is_shipped=True, crc=5),
        4: Entry(80, is_unread=True),
        5: Entry(None),
        6: Entry(70, is_shipped=True, is_leaving=True),
    }
    for is_first in (True, False):
        write_manifest(tmp_path, Manifest("abc", entries, is_first))
        assert read_manifest(tmp_path) == Manifest("abc", entries, is_first)


def test_each_folder_has_an_id_of_its_own() -> None:
    assert Manifest().journal_id != Manifest().journal_id


@pytest.mark.parametrize("segments", [None, {}, [[]], [["x"]], [[1]], [[1, 2, 3, 4, 5, 6, 7]], [7]])
def test_what_is_no_manifest_is_refused(tmp_path: Path, segments: object) -> None:
    (tmp_path / "manifest.json").write_bytes(sealed({"v": 1, "segments": segments}))
    with pytest.raises(ValueError, match=r"."):
        read_manifest(tmp_path)


def test_it_says_what_is_shipped_and_leaves_strays_out() -> None:
    def segment(number: int, **facts: object) -> Segment:
        made = Segment(number, Path(str(number)), written=10, end=10, is_sealed=True)
        for name, value in facts.items():
            setattr(made, name, value)
        return made

    segments = [
        segment(1, spent_at_micro=7, crc=9),
        segment(2),  # shipped, and something in it is owed to the counter store
        segment(3, is_stray=True),
        segment(4, is_sealed=False),
    ]
    assert entries_of(segments, Position(2, 10)) == {
        1: Entry(10, is_shipped=True, crc=9),
        2: Entry(10),
        4: Entry(None),
    }
    again = entries_of(segments, Position(0, 0))
    assert not again[1].is_shipped
