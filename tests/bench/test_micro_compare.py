"""A regression is told when it is clear, and only then."""

import pytest

from bench.micro.compare import Figure, Verdict, figure, slower, table, verdict

STEADY = Figure(1.0, 0.98, 1.02)


def test_a_figure_is_the_median_of_processes_each_by_its_own_median() -> None:
    measured = figure([[1.0, 9.0, 1.2], [1.1, 1.1], [0.9], []])

    assert measured == Figure(1.1, 0.9, 1.2)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        figure([[], []])


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (Figure(1.2, 1.1, 1.3), Verdict.SLOWER),
        (Figure(1.14, 1.1, 1.2), Verdict.SAME),  # below the threshold
        (Figure(1.5, 1.01, 2.0), Verdict.SAME),  # one of its processes was as fast
        (Figure(0.8, 0.7, 0.9), Verdict.FASTER),
        (Figure(0.8, 0.7, 0.99), Verdict.SAME),
        (Figure(0.9, 0.8, 0.95), Verdict.SAME),
    ],
)
def test_verdict_needs_threshold_and_spread(now: Figure, told: Verdict) -> None:
    assert verdict(now, STEADY) is told


def test_a_piece_without_baseline_is_new() -> None:
    assert verdict(STEADY, None) is Verdict.NEW


def test_threshold_can_be_chosen() -> None:
    now = {"x": Figure(1.1, 1.05, 1.2), "y": STEADY, "new": STEADY}

    assert slower(now, {"x": STEADY, "y": STEADY}, threshold=0.05) == ["x"]
    assert slower(now, {"x": STEADY, "y": STEADY}) == []


def test_table_tells_ratio_time_and_verdict() -> None:
    printed = table(
        {"path": Figure(2.0, 1.9, 2.1), "new one": STEADY}, {"path": STEADY}, loop_micro=50.0
    )
    head, path, new = printed.splitlines()

    assert head.split() == ["piece", "x", "loop", "about", "us", "+-", "baseline", "ratio"]
    assert path.split() == ["path", "2.0000", "100.00", "5%", "1.0000", "2.00", "SLOWER"]
    assert new.split() == ["new", "one", "1.0000", "50.00", "2%", "-", "-", "new"]
