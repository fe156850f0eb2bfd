"""Lines of a segment are read in order; damaged ones are told from whole ones."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering import journal_lines
from gateway.metering.journal_format import RECORD, Line, encode_record
from gateway.metering.journal_lines import read_lines, read_whole_lines
from tests.metering.journals import record


def test_lines_are_read_up_to_the_end_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    lines = [encode_record(record(number)) for number in range(3)]
    path.write_bytes(b"".join(lines))
    found = list(read_lines(path, len(lines[0]), len(lines[0]) + len(lines[1])))
    assert found == [
        Line(len(lines[0]), len(lines[0]) + len(lines[1]), RECORD, lines[1][10:-1]),
    ]
    assert list(read_lines(path, 9_999_999, 10_000_000)) == []
    assert list(read_lines(tmp_path / "gone", 0, 100)) == []


def test_a_line_without_its_end_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    torn = encode_record(record(1))[:-2]
    path.write_bytes(torn)
    assert list(read_lines(path, 0, 10_000)) == [Line(0, len(torn), None, torn, is_whole=False)]


def test_what_is_whole_in_a_damaged_line_comes_as_a_line(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    first, second = (encode_record(record(number)) for number in range(2))
    path.write_bytes(first[:-1] + b"J" + second)
    found = list(read_lines(path, 0, 10_000))
    assert [(line.start, line.kind) for line in found] == [(0, RECORD), (len(first), RECORD)]


@given(st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"\r")), max_size=30))
def test_chunks_are_made_of_whole_lines_whatever_their_size(texts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_lines, "CHUNK_BYTES", 16)
        path = Path(folder) / "segment"
        content = b"\n".join(texts)
        path.write_bytes(content)
        found: list[bytes] = []
        while lines := read_whole_lines(path, sum(map(len, found)), len(content)):
            found += lines
        assert found == re.findall(rb"[^\n]*\n|[^\n]+", content)


def test_a_segment_that_is_gone_has_no_lines(tmp_path: Path) -> None:
    assert read_whole_lines(tmp_path / "gone", 0, 100) == []
