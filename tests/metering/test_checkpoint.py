"""A checkpoint is what was written, and what the journal's lines prove."""

from pathlib import Path

import pytest

from gateway.metering.checkpoint import Checkpoint, is_proven, read_checkpoint, write_checkpoint
from gateway.metering.journal_format import Position, checksum, encode_record
from gateway.metering.sealed_file import sealed
from tests.metering.journals import record

NOTED = Checkpoint(Position(3, 500), "abc", 77, 4, 900)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, NOTED)
    assert read_checkpoint(tmp_path) == NOTED


def test_there_may_be_none_or_one_of_an_older_release(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_bytes(b'{"v":1,"segment":3,"offset":500}')
    assert read_checkpoint(tmp_path) is None


@pytest.mark.parametrize("wrong", [True, -1, 1.5, "3", None, [3]])
@pytest.mark.parametrize("name", ["segment", "offset", "line", "newest", "newest_end", "v"])
def test_numbers_are_numbers(tmp_path: Path, name: str, wrong: object) -> None:
    values: dict[str, object] = {
        "v": 2, "segment": 3, "offset": 5, "journal": "abc", "line": 7, "newest": 4,
        "newest_end": 9,
    }  # fmt: skip
    (tmp_path / "checkpoint.json").write_bytes(sealed(values))
    assert read_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_bytes(sealed({**values, name: wrong}))
    with pytest.raises(ValueError, match="no checkpoint"):
        read_checkpoint(tmp_path)


def test_only_the_line_before_a_position_proves_it(tmp_path: Path) -> None:
    lines = [encode_record(record(number)) for number in range(3)]
    segment = tmp_path / "segment"
    segment.write_bytes(b"".join(lines))
    first, both = len(lines[0]), len(lines[0]) + len(lines[1])

    def proves(offset: int, line: bytes) -> bool:
        return is_proven(Checkpoint(Position(1, offset), "abc", checksum(line)), segment)

    assert proves(first, lines[0])
    assert proves(both, lines[1])
    assert not proves(both, lines[0])
    assert not proves(first - 1, lines[0])
    assert not proves(both, lines[0] + lines[1])
    assert not proves(10_000, lines[2])
    assert not proves(0, b"")
