"""What measurements mean beside the baseline: ratios, spread, a verdict, a table. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

THRESHOLD = 0.15
"""Slower by so much, and outside both spreads, is a clear regression. Two runs of the same code
differ by 5 % at most on a quiet machine, by 10 % on a busy one."""


class Verdict(Enum):
    """How a piece stands beside its baseline."""

    SAME = ""
    SLOWER = "SLOWER"
    FASTER = "faster"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Figure:
    """What a piece costs, as a multiple of one calibration loop.

    ``middle`` is the median over processes, each by its own median; ``low`` and ``high`` are the
    fastest and the slowest process.
    """

    middle: float
    low: float
    high: float


def figure(processes: Sequence[Sequence[float]]) -> Figure:
    """Return the figure of one piece from the values of each process.

    Raises:
        ValueError: nothing was measured.
    """
    medians = [median(values) for values in processes if values]
    if not medians:
        raise ValueError("nothing was measured")
    return Figure(median(medians), min(medians), max(medians))


def verdict(now: Figure, before: Figure | None, threshold: float = THRESHOLD) -> Verdict:
    """Return whether a piece became slower or faster, clearly, beyond threshold and spread."""
    if before is None:
        return Verdict.NEW
    if now.middle > before.middle * (1 + threshold) and now.low > before.high:
        return Verdict.SLOWER
    if before.middle > now.middle * (1 + threshold) and before.low > now.high:
        return Verdict.FASTER
    return Verdict.SAME


def slower(
    now: Mapping[str, Figure], before: Mapping[str, Figure], threshold: float = THRESHOLD
) -> list[str]:
    """Return the pieces that became clearly slower."""
    return [
        name
        for name, found in now.items()
        if verdict(found, before.get(name), threshold) is Verdict.SLOWER
    ]


def table(
    now: Mapping[str, Figure],
    before: Mapping[str, Figure],
    *,
    loop_micro: float,
    threshold: float = THRESHOLD,
) -> str:
    """Return one line a piece.

    Args:
        now: What was measured.
        before: The baseline, empty if there is none.
        loop_micro: What a calibration loop takes on the machine of the first baseline, to tell
            microseconds beside multiples.
        threshold: See ``verdict``.
    """
    rows = [["piece", "x loop", "about us", "+-", "baseline", "ratio", ""]]
    for name, found in now.items():
        known = before.get(name)
        rows.append(
            [
                name,
                f"{found.middle:.4f}",
                f"{found.middle * loop_micro:.2f}",
                f"{(found.high - found.low) / 2 / found.middle:.0%}",
                "-" if known is None else f"{known.middle:.4f}",
                "-" if known is None else f"{found.middle / known.middle:.2f}",
                verdict(found, known, threshold).value,
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        " ".join(
            text.ljust(width) if index in {0, 6} else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
