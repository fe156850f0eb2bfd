"""What every curve is made of."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one size.

    Attributes:
        size: Where it stands on the curve.
        series: What is drawn, by name; the unit is the curve's.
        beside: What is only told: memory, start, requests per second.
    """

    size: int
    series: Mapping[str, float]
    beside: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a measurement may use.

    Attributes:
        folder: Of its own, empty, removed afterwards.
        stack: Closed after the point: processes are stopped by it.
        upstream_port: Where a constant answer is.
        seconds: Load per round.
        rounds: The median of so many is taken.
        postgresql: URL of an empty database, None if there is none.
    """

    folder: Path
    stack: ExitStack
    upstream_port: int
    seconds: int
    rounds: int
    postgresql: str | None


@dataclass(frozen=True, slots=True)
class Curve:
    """One question.

    Attributes:
        title: Of the plot.
        size_label: Of its horizontal axis.
        unit: Of its vertical axis.
        sizes: Measured unless others are asked for.
        measure: Returns the point of one size.
    """

    title: str
    size_label: str
    unit: str
    sizes: Sequence[int]
    measure: Callable[[int, Surroundings], Point]
