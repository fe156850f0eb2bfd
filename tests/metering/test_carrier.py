"""A carrier takes what a journal's files hold to a ledger and says how far it came."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import LedgerUnavailable
from gateway.metering.carrier import Carried, LedgerCarrier, LedgerRefusesAll, Load
from gateway.metering.checkpoint import is_proven, read_checkpoint
from gateway.metering.journal_format import Position, encode_acknowledgement, encode_record
from gateway.metering.journal_segments import Segment
from gateway.metering.quarantine import QUARANTINE_NAME
from gateway.rules.record import Record
from tests.metering.journals import FixedClock, ids, record


class Shelf:
    """A ledger's ``append`` that keeps, refuses or is away."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.is_away = False
        self.kept: list[Record] = []

    def append(self, records: Sequence[Record]) -> int:
        if self.is_away:
            raise LedgerUnavailable("ledger.unavailable", "away", "")
        if any(one.event_id in self.refused for one in records):
            raise ValueError("no such column")
        self.kept += records
        return len(records)

    def epoch(self) -> str:
        return "the same"


def carrier_to(shelf: Shelf) -> LedgerCarrier:
    return LedgerCarrier(shelf, FixedClock())  # type: ignore[arg-type]


def segment(folder: Path, number: int, lines: Sequence[bytes], *, is_sealed: bool) -> Segment:
    """Return a file of a journal that holds the lines."""
    path = folder / f"{number}.journal"
    path.write_bytes(b"".join(lines))
    size = path.stat().st_size
    return Segment(number, path, written=size, end=size, is_sealed=is_sealed)


def lines_of(*numbers: int) -> list[bytes]:
    return [encode_record(record(number)) for number in numbers]


def test_batches_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    """X6: in order, over the ends of files, acknowledgements left out."""
    first = [*lines_of(1, 2), encode_acknowledgement(["x"]), *lines_of(3)]
    segments = [
        segment(tmp_path, 4, first, is_sealed=True),
        segment(tmp_path, 5, lines_of(4, 5), is_sealed=False),
    ]
    shelf, position = Shelf(), Position(0, 0)
    carrier = carrier_to(shelf)
    counts = []
    for _ in range(4):
        carried = carrier.carry(Load(tmp_path, segments, position, limit=2))
        counts.append(carried.count)
        assert carried.position >= position
        position = carried.position
    assert counts == [2, 2, 1, 0]
    assert ids(shelf.kept) == ids([record(number) for number in range(1, 6)])
    assert position == Position(5, segments[1].end)


def test_an_open_file_is_read_up_to_its_readable_end(tmp_path: Path) -> None:
    lines = lines_of(1, 2)
    found = segment(tmp_path, 1, lines, is_sealed=False)
    found.end = len(lines[0])
    carried = carrier_to(Shelf()).carry(Load(tmp_path, [found], Position(0, 0), limit=9))
    assert (carried.count, carried.position) == (1, Position(1, len(lines[0])))


def test_what_the_ledger_refuses_is_set_aside_and_the_rest_kept(tmp_path: Path) -> None:
    """T36: nothing is dropped in silence."""
    shelf = Shelf(record(2).event_id)
    load = Load(
        tmp_path, [segment(tmp_path, 1, lines_of(1, 2, 3), is_sealed=True)], Position(0, 0), 5
    )
    carried = carrier_to(shelf).carry(load)
    assert (carried.count, carried.set_aside) == (3, 1)
    assert sorted(ids(shelf.kept)) == ids([record(1), record(3)])
    assert record(2).event_id in (tmp_path / QUARANTINE_NAME).read_text()


def test_what_was_damaged_since_it_was_written_is_set_aside_with_its_bytes(tmp_path: Path) -> None:
    """T36: once, when the ledger has the rest of its batch."""
    good, bad = lines_of(1, 2)
    bad = bad.replace(b"STARTER", b"GRATIS!")
    found = segment(tmp_path, 1, [bad, good], is_sealed=True)
    quarantine = tmp_path / QUARANTINE_NAME
    shelf = Shelf()
    carrier = carrier_to(shelf)
    shelf.is_away = True
    with pytest.raises(LedgerUnavailable):
        carrier.carry(Load(tmp_path, [found], Position(0, 0), limit=9))
    assert not quarantine.exists()
    shelf.is_away = False
    quarantine.mkdir()
    with pytest.raises(OSError, match="directory"):
        carrier.carry(Load(tmp_path, [found], Position(0, 0), limit=9))
    assert not (tmp_path / "checkpoint.json").exists()
    quarantine.rmdir()
    carried = carrier.carry(Load(tmp_path, [found], Position(0, 0), limit=9))
    assert carried == Carried(Position(1, found.end), 2, 1)
    assert json.loads(quarantine.read_text()) == {
        "reason": "damaged",
        "segment": "1.journal",
        "offset": 0,
        "line": bad.decode(),
        "set_aside_at_micro": FixedClock().now_micro(),
    }


def test_a_batch_that_is_refused_whole_is_widened_before_anything_is_set_aside(
    tmp_path: Path,
) -> None:
    shelf = Shelf(*ids([record(number) for number in range(4)]))
    found = segment(tmp_path, 1, lines_of(*range(5)), is_sealed=True)
    carrier = carrier_to(shelf)
    load = Load(tmp_path, [found], Position(0, 0), limit=2)
    for _ in range(2):
        with pytest.raises(LedgerRefusesAll):
            carrier.carry(load)
        assert not (tmp_path / QUARANTINE_NAME).exists()
    carried = carrier.carry(load)
    assert (carried.count, carried.set_aside) == (5, 4)
    assert ids(shelf.kept) == [record(4).event_id]


def test_how_far_the_ledger_is_is_noted_once_it_has_the_batch(tmp_path: Path) -> None:
    """D1: a restart goes on where the last batch ended, and nobody notes what is not there."""
    checkpoint = tmp_path / "checkpoint.json"
    found = segment(tmp_path, 1, lines_of(1, 2), is_sealed=True)
    shelf = Shelf()
    carrier = carrier_to(shelf)
    shelf.is_away = True
    with pytest.raises(LedgerUnavailable):
        carrier.carry(Load(tmp_path, [found], Position(0, 0), limit=9))
    assert not checkpoint.exists()
    shelf.is_away = False
    carried = carrier.carry(Load(tmp_path, [found], Position(0, 0), limit=9))
    noted = read_checkpoint(tmp_path)
    assert noted is not None
    assert noted.position == carried.position == Position(1, found.end)
    assert (noted.newest, noted.newest_end) == (1, found.end)
    assert is_proven(noted, found.path)
    checkpoint.unlink()
    assert carrier.carry(Load(tmp_path, [found], carried.position, limit=9)).count == 0
    assert not checkpoint.exists()


def test_of_many_that_are_refused_one_line_is_told(tmp_path: Path) -> None:
    """Each stands in the quarantine; a ledger with a fault refuses thousands."""
    many = segment(tmp_path, 1, lines_of(*range(1, 200)), is_sealed=True)
    with capture_logs() as lines:
        carrier = carrier_to(Shelf(*[record(number).event_id for number in range(1, 200, 2)]))
        carried = carrier.carry(Load(tmp_path, [many], Position(0, 0), limit=500))
        carrier._aside.over()

    assert carried.set_aside == 100
    assert [line["event"] for line in lines] == [
        "shipper.record_set_aside", "shipper.record_set_aside_over",
    ]  # fmt: skip
    assert lines[-1]["count"] == 100


def test_a_note_that_can_not_be_written_holds_nobody_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk is helped by deleting what is shipped."""
    found = segment(tmp_path, 1, lines_of(1, 2), is_sealed=True)
    (tmp_path / "checkpoint.json").mkdir()
    shelf = Shelf()
    carried = carrier_to(shelf).carry(Load(tmp_path, [found], Position(0, 0), limit=9))
    assert (carried.count, carried.position) == (2, Position(1, found.end))
    assert "journal.checkpoint_failed" in capsys.readouterr().out
