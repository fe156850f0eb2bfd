"""What every curve is made of."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one size.

    Attributes:
        size: Where it stands on the curve.
        series: What is drawn, by name; the unit is the curve's. Medians of all rounds.
        lowest: The smallest of the rounds, by name.
        highest: The largest.
        beside: What is only told: memory, start, requests per second.
    """

    size: int
    series: Mapping[str, float]
    lowest: Mapping[str, float] = field(default_factory=dict)
    highest: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a measurement may use.

    Attributes:
        folder: Of its own, empty, removed afterwards.
        stack: Closed after the curve: processes are stopped by it.
        upstream_port: Where a constant answer is.
        seconds: Load per round.
        postgresql: URL of a server, None if there is none.
    """

    folder: Path
    stack: ExitStack
    upstream_port: int
    seconds: int
    postgresql: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A size that is ready to be measured, again and again.

    Attributes:
        measure: One round; returns what is drawn.
        tell: Called after the last round; returns what is only told.
    """

    measure: Callable[[], Figures]
    tell: Callable[[], Figures] = dict


@dataclass(frozen=True, slots=True)
class Curve:
    """One question.

    Attributes:
        title: Of the plot.
        size_label: Of its horizontal axis.
        unit: Of its vertical axis.
        sizes: Measured unless others are asked for.
        begin: Makes one size ready.
    """

    title: str
    size_label: str
    unit: str
    sizes: Sequence[int]
    begin: Callable[[int, Surroundings], Begun]


def summarise(size: int, rounds: Sequence[Figures], beside: Figures) -> Point:
    """Return the point of a size from its rounds."""
    names = rounds[0].keys()
    return Point(
        size,
        {name: median(figures[name] for figures in rounds) for name in names},
        {name: min(figures[name] for figures in rounds) for name in names},
        {name: max(figures[name] for figures in rounds) for name in names},
        beside,
    )
