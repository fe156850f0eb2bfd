"""Gathers what all scenarios gave, and writes it: JSON, tables, plots."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import bars, report, targets
from bench.measure import Effort
from bench.scenarios.port import Scenario

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "bench" / "results"
SCRATCH = ROOT / "build" / "bench"
NAME = "side-by-side"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
INTRODUCTION = """\
Written by `make bench`; what it means: [docs/benchmarks.md](../../docs/benchmarks.md). Medians of
all rounds (lowest-highest); ratios are taken within a round."""

SURROUNDINGS = """\
Measured {at}, commit {commit}: {cores} cores ({cpu}), Linux {kernel}, Python {python}; {rounds}
rounds of at most {seconds} s."""


@dataclass(slots=True)
class Outcome:
    """What was measured so far.

    Attributes:
        missing: Peers that could not be had, and why.
        failed: Scenario and peer of what went wrong, and how.
    """

    effort: Effort
    rounds: int
    samples: dict[str, dict[str, list[report.Sample]]] = field(default_factory=dict)
    lines: list[report.Line] = field(default_factory=list)
    scenarios: list[Scenario] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        scenario: Scenario,
        samples: dict[str, list[report.Sample]],
        versions: Mapping[str, str],
    ) -> None:
        """Take a scenario's rounds."""
        if samples:
            self.scenarios.append(scenario)
            self.samples[scenario.name] = samples
            self.lines += report.summarise(scenario, samples)
            self.versions |= versions

    def write(self, into: Path) -> str:
        """Write all files into a folder; return the tables."""
        about = self._about()
        text = self._text(about)
        into.mkdir(parents=True, exist_ok=True)
        report.write(
            into / f"{NAME}.json",
            about=about,
            lines=self.lines,
            rounds=self.samples,
            missing=self.missing | self.failed,
        )
        (into / f"{NAME}.md").write_text(text)
        saturated = {
            f"{each.name}: CPU us/{each.unit}, paler: beside it": self._of(each)
            for each in self.scenarios
            if not each.rate
        }
        paced = {
            f"{each.name}: p50, p99, p99.9 in ms": self._of(each)
            for each in self.scenarios
            if each.rate
        }
        (into / f"{NAME}-cpu.svg").write_text(bars.draw_cpu(saturated))
        (into / f"{NAME}-latency.svg").write_text(bars.draw_latency(paced))
        return text

    def write_page(self, page: Path = PAGE) -> None:
        """Put this run's figures into the page that explains them, between its two marks."""
        about = self._about()
        before, _, rest = page.read_text().partition(BEGIN)
        passed = [each for each in self.scenarios if each.name == "passed"]
        parts = [
            BEGIN,
            SURROUNDINGS.format(**about),
            *(report.table(each, self._of(each)) for each in passed),
            self._targets(),
            report.overview(self.scenarios, self.lines),
            END,
        ]
        page.write_text(before + "\n\n".join(parts) + rest.partition(END)[2])

    def _of(self, scenario: Scenario) -> list[report.Line]:
        return [line for line in self.lines if line.scenario == scenario.name]

    def _targets(self) -> str:
        return targets.table(targets.targets(self.scenarios, self.samples))

    def _text(self, about: Mapping[str, object]) -> str:
        told = ("at", "commit", "cpu", "cores", "kernel", "python", "rounds", "seconds")
        parts = [
            "# Side by side: figures of one run",
            INTRODUCTION,
            "\n".join(f"- {name}: {about[name]}" for name in told),
            "\n".join(f"- {name}: {version}" for name, version in self.versions.items()),
            "## Targets\n\n" + self._targets(),
        ]
        for scenario in self.scenarios:
            parts.append(f"## {scenario.name}\n\n{scenario.says}.")
            parts.append(report.table(scenario, self._of(scenario)))
        if absent := self.missing | self.failed:
            parts.append("## Not measured")
            parts.append("\n".join(f"- {name}: {why}" for name, why in absent.items()))
        return "\n\n".join(parts) + "\n"

    def _about(self) -> dict[str, object]:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        models = [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        return {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": commit.stdout.strip(),
            "cpu": models[0] if models else platform.machine(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "connections": self.effort.connections,
            "rounds": self.rounds,
            "seconds": self.effort.seconds,
            "versions": self.versions,
        }
