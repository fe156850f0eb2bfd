"""Turns rounds of measurements into one line a peer, tables, and a JSON file."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench.scenarios.port import Scenario
from bench.wrk import Load

BASELINES = ("nginx", "envoy", "nginx-lua", "aiohttp", "litellm")
MEGABYTE = 1024**2


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one peer.

    Attributes:
        cpu_seconds: By process name, the peer itself first; children that it tells apart second.
        resident_bytes: By process name, children included.
        proportional_bytes: The same with shared pages divided among those who share them.
        thread_seconds: By the names of the peer's threads; ``main`` is its first.
        units: What was counted: requests, or what the scenario says.
    """

    load: Load
    cpu_seconds: Mapping[str, float]
    resident_bytes: Mapping[str, int]
    proportional_bytes: Mapping[str, int]
    thread_seconds: Mapping[str, float]
    units: float

    def micros_per_unit(self, process: str) -> float:
        """Return the CPU time that a process spent per unit of work, in microseconds."""
        return self.cpu_seconds[process] / self.units * 1e6

    @property
    def own_micros(self) -> float:
        """What the peer's own process spent per unit; 0 of a peer without one."""
        itself = next(iter(self.cpu_seconds), None)
        return self.micros_per_unit(itself) if itself else 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of all rounds, between the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    def shown(self, digits: int) -> str:
        """Return it as a cell."""
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f}-{self.highest:.{digits}f})"


@dataclass(frozen=True, slots=True)
class Line:
    """A peer in a scenario.

    Attributes:
        cpu_micros: The peer's own process, per unit.
        beside_micros: Processes that it needs beside it, per unit.
        cpu_ratios: To each baseline, round by round.
        p50_ratios: The same of the median latency.
        generator_micros: What the load generator itself used per request, where it tells.
    """

    scenario: str
    peer: str
    rounds: int
    units_per_second: float
    cpu_micros: Spread
    beside_micros: Mapping[str, float]
    cpu_ratios: Mapping[str, Spread]
    p50_ratios: Mapping[str, Spread]
    p50_ms: Spread
    p99_ms: Spread
    p999_ms: Spread
    resident_mb: float
    proportional_mb: float
    bytes_per_unit: float
    generator_micros: float


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(median(values), min(values), max(values))


def round_ratios(values: Sequence[float], others: Sequence[float]) -> Spread | None:
    """Return the spread of the ratios within each round; None where there is nothing to divide by.

    Args:
        others: The nth is of the same round as the nth of ``values``.
    """
    if not all(others):
        return None
    return spread([value / other for value, other in zip(values, others, strict=True)])


def summarise(scenario: Scenario, rounds: Mapping[str, Sequence[Sample]]) -> list[Line]:
    """Return a line for each peer; the nth samples of all peers are of the same round.

    Raises:
        ValueError: a request failed: the numbers would not be the work's.
    """
    for peer, samples in rounds.items():
        failed = sum(sample.load.failed for sample in samples)
        if failed:
            raise ValueError(f"{peer}: {failed} requests failed; nothing was measured")
    return [
        _line(scenario, peer, samples, {name: rounds[name] for name in BASELINES if name in rounds})
        for peer, samples in rounds.items()
    ]


def _line(
    scenario: Scenario,
    peer: str,
    samples: Sequence[Sample],
    baselines: Mapping[str, Sequence[Sample]],
) -> Line:
    itself, *beside = [*samples[0].cpu_seconds] or [""]
    held = [*samples[0].resident_bytes][:1]

    def to_baselines(value: Callable[[Sample], float]) -> dict[str, Spread]:
        own = [value(sample) for sample in samples]
        found = {
            name: round_ratios(own, [value(other) for other in others])
            for name, others in baselines.items()
        }
        return {name: each for name, each in found.items() if each is not None}

    def milliseconds(value: Callable[[Sample], float]) -> Spread:
        return spread([value(sample) * 1000 for sample in samples])

    return Line(
        scenario=scenario.name,
        peer=peer,
        rounds=len(samples),
        units_per_second=median(
            sample.units * sample.load.requests_per_second / sample.load.requests
            for sample in samples
        ),
        cpu_micros=spread([sample.own_micros for sample in samples]),
        beside_micros={
            name: median(sample.micros_per_unit(name) for sample in samples) for name in beside
        },
        cpu_ratios=to_baselines(lambda sample: sample.own_micros) if itself else {},
        p50_ratios=to_baselines(lambda sample: sample.load.p50_seconds),
        p50_ms=milliseconds(lambda sample: sample.load.p50_seconds),
        p99_ms=milliseconds(lambda sample: sample.load.p99_seconds),
        p999_ms=milliseconds(lambda sample: sample.load.p999_seconds),
        resident_mb=median(sum(s.resident_bytes[n] for n in held) for s in samples) / MEGABYTE,
        proportional_mb=median(sum(s.proportional_bytes[n] for n in held) for s in samples)
        / MEGABYTE,
        bytes_per_unit=median(sample.load.read_bytes / sample.units for sample in samples),
        generator_micros=median(
            sample.load.own_cpu_seconds / sample.load.requests * 1e6 for sample in samples
        ),
    )


def table(scenario: Scenario, lines: Sequence[Line]) -> str:
    """Return a Markdown table; a scenario with a rate is about latency, others about CPU."""
    is_paced = scenario.rate > 0
    ratios = [(line.p50_ratios if is_paced else line.cpu_ratios) for line in lines]
    baselines = [name for name in BASELINES if any(name in each for each in ratios)]
    cpu = f"CPU us/{scenario.unit}"
    times = ["p50 ms", "p99 ms", "p99.9 ms"]
    head = ["peer", *(times if is_paced else [cpu]), *(f"x {name}" for name in baselines)]
    head += [cpu] if is_paced else [f"{scenario.unit}s/s", *times[:2]]
    head += ["beside it", "PSS MB", "RSS MB"]
    head += ["generator us"] if is_paced else [f"bytes/{scenario.unit}"]
    rows = [head, ["---"] * len(head)]
    for line, ratio in zip(lines, ratios, strict=True):
        row = [line.peer]
        row += (
            [each.shown(2) for each in (line.p50_ms, line.p99_ms, line.p999_ms)]
            if is_paced
            else [line.cpu_micros.shown(1)]
        )
        row += [ratio[name].shown(2) if name in ratio else "-" for name in baselines]
        rows.append(row + _end_of_row(line, is_paced=is_paced))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _end_of_row(line: Line, *, is_paced: bool) -> list[str]:
    beside = ", ".join(f"{name} {micros:.1f}" for name, micros in line.beside_micros.items())
    cells = (
        [line.cpu_micros.shown(1)]
        if is_paced
        else [
            f"{line.units_per_second:,.0f}",
            f"{line.p50_ms.median:.2f}",
            f"{line.p99_ms.median:.2f}",
        ]
    )
    cells += [beside or "-", f"{line.proportional_mb:.0f}", f"{line.resident_mb:.0f}"]
    last = line.generator_micros if is_paced else line.bytes_per_unit
    return [*cells, f"{last:,.0f}"]


def overview(scenarios: Sequence[Scenario], lines: Sequence[Line], peer: str = "gateway") -> str:
    """Return one Markdown table with a row a scenario: a peer, and its ratios to the others."""
    own = {line.scenario: line for line in lines if line.peer == peer}
    rows = [["scenario", peer, *(f"x {name}" for name in BASELINES)]]
    rows.append(["---"] * len(rows[0]))
    for scenario in scenarios:
        if scenario.name in own:
            line = own[scenario.name]
            ratios = line.p50_ratios if scenario.rate else line.cpu_ratios
            value = (
                f"p50 {line.p50_ms.median:.2f} ms"
                if scenario.rate
                else f"{line.cpu_micros.median:.1f} us/{scenario.unit}"
            )
            cells = [ratios[name].shown(2) if name in ratios else "-" for name in BASELINES]
            rows.append([scenario.name, value, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(
    path: Path,
    *,
    about: Mapping[str, object],
    lines: Sequence[Line],
    rounds: Mapping[str, Mapping[str, Sequence[Sample]]],
    missing: Mapping[str, str],
) -> None:
    """Write everything that was measured, raw rounds included."""
    document = {
        "about": about,
        "missing": missing,
        "summary": [asdict(line) for line in lines],
        "rounds": {
            scenario: {peer: [asdict(sample) for sample in taken] for peer, taken in peers.items()}
            for scenario, peers in rounds.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
