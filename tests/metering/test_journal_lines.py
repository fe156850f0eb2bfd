"""Lines of a segment are read in order; damaged ones are told from whole ones."""

from pathlib import Path

from gateway.metering.journal_format import RECORD, Line, encode_record
from gateway.metering.journal_lines import read_lines
from tests.metering.journals import record


def test_lines_are_read_up_to_the_end_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    lines = [encode_record(record(number)) for number in range(3)]
    path.write_bytes(b"".join(lines))
    found = list(read_lines(path, len(lines[0]), len(lines[0]) + len(lines[1])))
    assert found == [
        Line(len(lines[0]), len(lines[0]) + len(lines[1]), RECORD, lines[1][10:-1]),
    ]
    assert not found[0].is_torn
    assert list(read_lines(path, 9_999_999, 10_000_000)) == []
    assert list(read_lines(tmp_path / "gone", 0, 100)) == []


def test_a_line_without_its_end_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(encode_record(record(1))[:-1])
    (line,) = read_lines(path, 0, 10_000)
    assert line.is_torn
