"""What the gateway is meant to reach beside its peers, and whether it did in this run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.report import Sample, Spread, round_ratios
from bench.scenarios.port import Scenario

SHIPPING = "shipping"


@dataclass(frozen=True, slots=True)
class Target:
    """One promise.

    Attributes:
        measured: The ratios within each round; None if what it takes was not measured, or not in
            the same rounds.
    """

    says: str
    limit: float
    measured: Spread | None

    @property
    def verdict(self) -> str:
        """In one word or two, by the median."""
        if self.measured is None:
            return "not measured"
        return "holds" if self.measured.median <= self.limit else "missed"


def _cpu(sample: Sample) -> float:
    return sample.own_micros


def _cpu_and_shipping(sample: Sample) -> float:
    # Where shipping is not told apart, the peer's own time has it already.
    apart = sample.micros_per_unit(SHIPPING) if SHIPPING in sample.cpu_seconds else 0.0
    return sample.own_micros + apart


def _p50(sample: Sample) -> float:
    return sample.load.p50_seconds


@dataclass(frozen=True, slots=True)
class _Figure:
    """What is looked at in each round of a peer in a scenario."""

    scenario: str
    peer: str
    value: Callable[[Sample], float] = _cpu


_PASSED = _Figure("passed", "gateway")
_ENVOY = _Figure("passed", "envoy")
_PROMISES = (
    ("whole job / bare Envoy, CPU", 1.0, _PASSED, _ENVOY),
    ("whole job / nginx + Lua + Redis, CPU", 0.5, _PASSED, _Figure("passed", "nginx-lua")),
    (
        "whole job and shipping / bare Envoy, CPU",
        1.5,
        _Figure("passed", "gateway", _cpu_and_shipping),
        _ENVOY,
    ),
    ("whole job / idiomatic aiohttp, CPU", 1 / 6, _PASSED, _Figure("passed", "aiohttp")),
    ("refused by rate / passed, CPU", 0.4, _Figure("refused-by-rate", "gateway"), _PASSED),
    ("refused by key / passed, CPU", 0.4, _Figure("refused-by-key", "gateway"), _PASSED),
    (
        "refused by rate, each head a new one / passed, CPU",
        0.4,
        _Figure("refused-by-rate-anew", "gateway"),
        _PASSED,
    ),
    (
        "refused by key, each head a new one / passed, CPU",
        0.4,
        _Figure("refused-by-key-anew", "gateway"),
        _PASSED,
    ),
    (
        "p50 at one connection / nginx + Lua + Redis",
        1.0,
        _Figure("latency-1", "gateway", _p50),
        _Figure("latency-1", "nginx-lua", _p50),
    ),
)


def targets(
    scenarios: Sequence[Scenario], rounds: Mapping[str, Mapping[str, Sequence[Sample]]]
) -> list[Target]:
    """Return all promises, beside what these rounds say.

    Args:
        rounds: Samples by scenario and peer; within a group the nth ones are of the same round.
    """
    together = {scenario.name: scenario.together for scenario in scenarios}

    def within_rounds(figure: _Figure, other: _Figure) -> Spread | None:
        if together.get(figure.scenario) != together.get(other.scenario):
            return None
        values, others = (
            [each.value(sample) for sample in rounds.get(each.scenario, {}).get(each.peer, ())]
            for each in (figure, other)
        )
        return round_ratios(values, others) if values and others else None

    return [
        Target(says, limit, within_rounds(figure, other))
        for says, limit, figure, other in _PROMISES
    ]


def table(promises: Sequence[Target]) -> str:
    """Return a Markdown table."""
    rows = ["| target | at most | measured | |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {each.says} | {each.limit:.2f} | "
        f"{each.measured.shown(2) if each.measured else '-'} | {each.verdict} |"
        for each in promises
    ]
    return "\n".join(rows)
