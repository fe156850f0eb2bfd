"""What is said over the socket comes out as it went in."""

import socket
from pathlib import Path

import pytest

from gateway.errors import LedgerUnavailable
from gateway.metering.carrier import Carried, Load
from gateway.metering.journal_format import Position
from gateway.metering.journal_segments import Segment
from gateway.metering.ledger_watch import WentBack
from gateway.process import shipping_wire as wire


@pytest.mark.parametrize("compare_at", [None, Position(2, 5)])
def test_a_load(compare_at: Position | None) -> None:
    segments = [Segment(3, Path("a"), written=9, end=9, is_sealed=True)]
    kept = [Segment(2, Path("b"), written=7, end=7, is_sealed=True)]
    load = Load(Path("folder"), segments, Position(3, 4), 5, "id", kept, compare_at)
    ours, theirs = socket.socketpair()
    ours.sendall(wire.framed(wire.load_told(load)))
    asked = wire.receive(theirs)
    assert asked is not None
    assert wire.load_of(asked) == load
    ours.close()
    assert wire.receive(theirs) is None
    theirs.close()


@pytest.mark.parametrize("went_back", [None, WentBack(3, 9, 123, is_older_lost=True)])
def test_what_was_carried(went_back: WentBack | None) -> None:
    carried = Carried(Position(3, 4), 5, 6, went_back, is_reconnected=True)
    assert wire.carried_of(wire.carried_told(carried)) == carried


def test_an_error() -> None:
    told = wire.error_told(LedgerUnavailable("a.b", "away", "wait"))
    with pytest.raises(LedgerUnavailable, match=r"^away$"):
        wire.carried_of({"error": told})
    assert isinstance(wire.error_of(wire.error_told(OSError(5, "broken"))), OSError)


def test_a_message_says_how_much_of_it_lacks() -> None:
    message = wire.framed({"beat": 1})
    assert [wire.missing_bytes(message[:cut]) for cut in (0, 3, 4, len(message))] == [
        4, 1, len(message) - 4, 0,
    ]  # fmt: skip
