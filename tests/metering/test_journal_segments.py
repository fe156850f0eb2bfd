"""One segment: what readers may see of it, and what is cut off."""

import os
from pathlib import Path

from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment, SegmentWriter


def writer_in(folder: Path) -> SegmentWriter:
    path = folder / "one"
    return SegmentWriter(Segment(1, path), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))


def test_a_sealed_segment_is_complete_only_when_all_of_it_may_be_read(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    writer.write(b"abc\n")
    segment = writer.segment
    writer.seal()
    assert not segment.is_complete
    assert not segment.is_behind(Position(1, 4))
    segment.end = 4
    assert segment.is_complete
    assert segment.is_behind(Position(1, 4))
    assert segment.is_behind(Position(2, 0))
    assert not segment.is_behind(Position(1, 3))
    writer.close()
    writer.close()


def test_sealing_cuts_what_a_failed_write_left(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    writer.write(b"good\n")
    with writer.segment.path.open("ab") as other:
        other.write(b"torn")
    writer.seal()
    assert writer.segment.path.read_bytes() == b"good\n"
    writer.close()


def test_what_no_reader_saw_can_be_forgotten(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    writer.write(b"kept\n")
    writer.segment.end = 5
    writer.write(b"not yet\n")
    assert writer.forget_unread() == 8
    assert writer.segment.path.read_bytes() == b"kept\n"
    assert writer.segment.is_complete
    writer.close()
