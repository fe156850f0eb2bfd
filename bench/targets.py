"""What the gateway is meant to reach beside its peers, and whether it did in this run."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import Line


@dataclass(frozen=True, slots=True)
class Target:
    """One promise. ``measured`` None: what it takes was not measured."""

    says: str
    limit: float
    measured: float | None

    @property
    def verdict(self) -> str:
        """In one word or two."""
        if self.measured is None:
            return "not measured"
        return "holds" if self.measured <= self.limit else "missed"


def targets(lines: Sequence[Line]) -> list[Target]:
    """Return all promises, beside what these lines say."""
    found = {(line.scenario, line.peer): line for line in lines}

    def cpu(scenario: str, peer: str, *beside: str) -> float | None:
        line = found.get((scenario, peer))
        if line is None or not line.cpu_micros.median:
            return None
        return line.cpu_micros.median + sum(line.beside_micros.get(name, 0.0) for name in beside)

    def p50(scenario: str, peer: str) -> float | None:
        line = found.get((scenario, peer))
        return line.p50_ms.median if line else None

    passed = cpu("passed", "gateway")
    shipped = cpu("passed", "gateway", "shipping")
    rate, key = (cpu(f"refused-by-{by}", "gateway") for by in ("rate", "key"))
    envoy, lua, plain = (cpu("passed", name) for name in ("envoy", "nginx-lua", "aiohttp"))
    return [
        Target("whole job / bare Envoy, CPU", 1.0, _ratio(passed, envoy)),
        Target("whole job / nginx + Lua + Redis, CPU", 0.5, _ratio(passed, lua)),
        Target("whole job and shipping / bare Envoy, CPU", 1.5, _ratio(shipped, envoy)),
        Target("whole job / idiomatic aiohttp, CPU", 1 / 6, _ratio(passed, plain)),
        Target("refused by rate / passed, CPU", 0.4, _ratio(rate, passed)),
        Target("refused by key / passed, CPU", 0.4, _ratio(key, passed)),
        Target(
            "p50 at one connection / nginx + Lua + Redis",
            1.0,
            _ratio(p50("latency-1", "gateway"), p50("latency-1", "nginx-lua")),
        ),
    ]


def table(promises: Sequence[Target]) -> str:
    """Return a Markdown table."""
    rows = ["| target | at most | measured | |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {each.says} | {each.limit:.2f} | "
        f"{'-' if each.measured is None else f'{each.measured:.2f}'} | {each.verdict} |"
        for each in promises
    ]
    return "\n".join(rows)


def _ratio(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None
