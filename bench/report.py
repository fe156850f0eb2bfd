"""Turns rounds of measurements into one line a peer, a table, and a JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench.wrk import Load

BASELINES = ("envoy", "nginx", "nginx-lua")


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one peer. ``cpu_seconds`` and ``resident_bytes`` are by process name."""

    load: Load
    cpu_seconds: Mapping[str, float]
    resident_bytes: Mapping[str, int]

    def micros_per_request(self, process: str) -> float:
        """Return the CPU time that a process spent per answered request, in microseconds."""
        return self.cpu_seconds[process] / self.load.requests * 1e6


@dataclass(frozen=True, slots=True)
class Line:
    """A peer's medians over all rounds, and the spread of what is compared.

    ``cpu_micros`` is the peer's own process; ``beside_micros`` are those it needs beside it.
    """

    peer: str
    rounds: int
    requests_per_second: float
    cpu_micros: float
    cpu_micros_lowest: float
    cpu_micros_highest: float
    beside_micros: Mapping[str, float]
    p50_ms: float
    p99_ms: float
    resident_mb: float


def summarise(peer: str, samples: Sequence[Sample]) -> Line:
    """Return one peer's line; the first process of the samples is the peer itself.

    Raises:
        ValueError: a round had failed requests: its numbers would not be the work's.
    """
    failed = sum(sample.load.failed for sample in samples)
    if failed:
        raise ValueError(f"{peer}: {failed} requests failed; nothing was measured")
    itself, *beside = samples[0].cpu_seconds
    micros = [sample.micros_per_request(itself) for sample in samples]
    return Line(
        peer=peer,
        rounds=len(samples),
        requests_per_second=median(sample.load.requests_per_second for sample in samples),
        cpu_micros=median(micros),
        cpu_micros_lowest=min(micros),
        cpu_micros_highest=max(micros),
        beside_micros={
            name: median(sample.micros_per_request(name) for sample in samples) for name in beside
        },
        p50_ms=median(sample.load.p50_seconds for sample in samples) * 1000,
        p99_ms=median(sample.load.p99_seconds for sample in samples) * 1000,
        resident_mb=median(sample.resident_bytes[itself] for sample in samples) / 1024**2,
    )


def table(lines: Sequence[Line]) -> str:
    """Return a Markdown table, with CPU ratios to those baselines that were measured."""
    baselines = {line.peer: line.cpu_micros for line in lines if line.peer in BASELINES}
    head = ["peer", "CPU us/request", "lowest-highest", *(f"x {name}" for name in baselines)]
    head += ["beside it us/request", "requests/s", "p50 ms", "p99 ms", "memory MB"]
    rows = [head, ["---"] * len(head)]
    for line in lines:
        beside = ", ".join(f"{name} {micros:.1f}" for name, micros in line.beside_micros.items())
        rows.append(
            [
                line.peer,
                f"{line.cpu_micros:.1f}",
                f"{line.cpu_micros_lowest:.1f}-{line.cpu_micros_highest:.1f}",
                *(f"{line.cpu_micros / micros:.2f}" for micros in baselines.values()),
                beside or "-",
                f"{line.requests_per_second:,.0f}",
                f"{line.p50_ms:.2f}",
                f"{line.p99_ms:.2f}",
                f"{line.resident_mb:.0f}",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(
    path: Path,
    *,
    about: Mapping[str, object],
    lines: Sequence[Line],
    samples: Mapping[str, Sequence[Sample]],
) -> None:
    """Write everything that was measured, raw rounds included."""
    document = {
        "about": about,
        "summary": [asdict(line) for line in lines],
        "rounds": {peer: [asdict(sample) for sample in taken] for peer, taken in samples.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
