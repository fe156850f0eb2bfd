"""The baseline keeps sources and compiled modules apart, and names what exists."""

from pathlib import Path

import pytest

from bench.micro import baseline
from bench.micro.baseline import Baseline
from bench.micro.compare import Figure
from bench.micro.pieces import PIECES

ABOUT = {"python": "3.11.7", "cpu": "one", "at": "2026-11-20"}


def measured(**figures: float) -> Baseline:
    return Baseline(ABOUT, {name: Figure(value, value, value) for name, value in figures.items()})


def test_two_modes_are_two_sets(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baseline.update("sources", measured(a=2.0), path)
    baseline.update("compiled", measured(a=1.0), path)

    assert baseline.read("sources", path) == measured(a=2.0)
    assert baseline.read("compiled", path) == measured(a=1.0)


def test_pieces_that_were_not_measured_stay_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baseline.update("sources", measured(a=1.0, b=1.0), path)
    baseline.update("sources", measured(b=2.0), path, keeps_others=True)
    assert baseline.read("sources", path) == measured(a=1.0, b=2.0)

    baseline.update("sources", measured(b=2.0), path)
    assert baseline.read("sources", path) == measured(b=2.0)


def test_no_baseline_is_none(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert baseline.read("sources", path) is None

    baseline.update("sources", measured(a=1.0), path)
    assert baseline.read("compiled", path) is None


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (ABOUT, []),
        ({**ABOUT, "at": "2026-12-24"}, []),
        ({**ABOUT, "cpu": "two"}, ["cpu: two then, one now"]),
        ({}, ["python: unknown then, 3.11.7 now", "cpu: unknown then, one now"]),
    ],
)
def test_another_machine_is_told(other: dict[str, str], told: list[str]) -> None:
    assert baseline.differences(ABOUT, other) == told


def test_committed_baseline_has_every_piece_and_no_other() -> None:
    committed = baseline.read("sources")

    assert committed is not None
    assert set(committed.figures) == {piece.name for piece in PIECES}


def test_names_tell_pieces_apart() -> None:
    assert len({piece.name for piece in PIECES}) == len(PIECES)
