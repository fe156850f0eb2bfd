"""Shipped segments are kept for a while, and go first where there is no room."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.metering.journal_format import Position
from gateway.metering.journal_kept import KeptSegments, file_crc
from gateway.metering.journal_segments import Segment
from tests.metering.journals import FixedClock

PLENTY = 1 << 30


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def segment(folder: Path, number: int, size: int = 100) -> Segment:
    path = folder / f"{number}"
    path.write_bytes(bytes([number]) * size)
    return Segment(number, path, written=size, end=size, is_sealed=True)


def kept_in(folder: Path, clock: FixedClock, *, seconds: float, bytes_max: int) -> KeptSegments:
    kept = KeptSegments(clock, seconds=seconds, bytes_max=bytes_max)
    for number in (1, 2, 3):
        kept.add(segment(folder, number))
    return kept


@pytest.mark.parametrize(
    ("seconds", "bytes_max", "room_bytes", "left"),
    [
        (60, 1000, PLENTY, 3), (0, 1000, PLENTY, 0), (60, 250, PLENTY, 2), (60, 0, PLENTY, 0),
        (60, 1000, 150, 1), (60, 1000, 0, 0), (60, 1000, -5, 0),
    ],
)  # fmt: skip
def test_the_oldest_go_beyond_a_bound(
    tmp_path: Path, clock: FixedClock, seconds: float, bytes_max: int, room_bytes: int, left: int
) -> None:
    kept = kept_in(tmp_path, clock, seconds=seconds, bytes_max=bytes_max)
    taken = kept.take_due(Position(9, 0), room_bytes)
    assert len(taken) == 3 - left
    kept.delete(taken)
    assert [one.number for one in kept.segments] == [1, 2, 3][3 - left :]
    assert kept.size_bytes == 100 * left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3"][3 - left :]


def test_they_go_when_their_time_is_over(tmp_path: Path, clock: FixedClock) -> None:
    kept = kept_in(tmp_path, clock, seconds=60, bytes_max=1000)
    clock.at_micro += 59_000_000
    assert not kept.is_due(Position(9, 0), PLENTY)
    clock.at_micro += 1_000_000
    assert kept.is_due(Position(9, 0), PLENTY)


def test_what_is_shipped_again_stays_whatever_the_bound(tmp_path: Path, clock: FixedClock) -> None:
    kept = kept_in(tmp_path, clock, seconds=60, bytes_max=0)
    assert not kept.take_due(Position(0, 0), 0)
    assert not kept.take_due(Position(1, 50), 0)
    assert [one.number for one in kept.take_due(Position(2, 50), 0)] == [1]
    assert [one.number for one in kept.segments] == [2, 3]


def test_what_can_not_be_deleted_is_kept_still(tmp_path: Path, clock: FixedClock) -> None:
    kept = kept_in(tmp_path, clock, seconds=60, bytes_max=0)
    (tmp_path / "2").unlink()
    (tmp_path / "2").mkdir()
    with capture_logs() as lines:
        for _ in range(3):
            kept.delete(kept.take_due(Position(9, 0), PLENTY))
    assert [(line["event"], line["segment"]) for line in lines] == [
        ("journal.segment_not_deleted", "2")
    ], "it is told once, however often it is tried"
    assert [one.number for one in kept.segments] == [2, 3]
    assert kept.size_bytes == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def test_what_was_altered_is_found(tmp_path: Path, clock: FixedClock) -> None:
    kept = kept_in(tmp_path, clock, seconds=60, bytes_max=1000)
    assert kept.altered() == []
    assert kept.segments[0].crc == file_crc(kept.segments[0])
    (tmp_path / "2").write_bytes(b"x" * 100)
    (tmp_path / "3").unlink()
    assert [one.number for one in kept.altered()] == [2]
