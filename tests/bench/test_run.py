"""Scenarios are found, each can be measured, and a peer that can't be had is named."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench import run
from bench.bars import draw_cpu, draw_latency
from bench.measure import Effort
from bench.outcome import BEGIN, END, PAGE, Outcome
from bench.peers.port import Running, Unavailable
from bench.report import Sample, summarise
from bench.scenarios.port import Scenario
from bench.wrk import Load


class Absent:
    """A peer that is not on this machine."""

    name = "absent"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Refuse."""
        raise Unavailable(f"apt-get install absent; {folder} {upstream_port}")


class Present:
    """A peer of no process."""

    name = "present"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Be there, under the name of its folder."""
        return Running(upstream_port, folder.name, {})


def _sample(units: float = 100) -> Sample:
    load = Load(100, 10.0, 0.001, 0.002, 0, 0.003, 1000, 0.1)
    return Sample(load, {"x": 0.5, "redis": 0.1}, {"x": 1}, {"x": 1}, {"main": 0.5}, units=units)


@dataclass
class Rig:
    """Peers a, b and c; a sample's units are the number of its measurement."""

    bench: run.Bench
    found: Outcome
    asked: list[str] = field(default_factory=list)
    failing: dict[str, int] = field(default_factory=dict)

    def measure(
        self, peer: Running, scenario: Scenario, headers: dict[str, str], effort: Effort
    ) -> Sample:
        """Note who was asked what, and fail at the time that was set for it."""
        asked = f"{scenario.name} {peer.version}"
        self.asked.append(asked)
        if self.asked.count(asked) == self.failing.get(asked):
            raise RuntimeError("fails")
        return _sample(len(self.asked))


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with ExitStack() as stack:
        made = Rig(run.Bench(tmp_path, 1, stack), Outcome(Effort(1, 1), rounds=2))
        monkeypatch.setattr(run, "PEERS", dict.fromkeys("abc", Present))
        monkeypatch.setattr(run, "measure", made.measure)
        yield made


def test_every_scenario_has_a_name_of_its_own_and_known_peers() -> None:
    scenarios = run._scenarios([])

    assert scenarios[0].name == "passed"
    assert len({scenario.name for scenario in scenarios}) == len(scenarios)
    for scenario in scenarios:
        assert set(scenario.peers) <= set(run.PEERS)
        assert not (scenario.is_websocket and not scenario.rate)


def test_the_chosen_scenarios_are_the_ones_that_run() -> None:
    assert [each.name for each in run._scenarios(["events", "passed"])] == ["passed", "events"]


def test_what_is_decided_is_measured_in_the_same_rounds_the_whole_job_first() -> None:
    scenarios = run._scenarios([])
    decisions, *others = [[each.name for each in group] for group in run._groups(scenarios)]

    assert decisions == [
        "passed", "refunded", "refused-by-key", "refused-by-key-anew", "refused-by-rate",
        "refused-by-rate-anew", "stores",
    ]  # fmt: skip
    assert others == [[each.name] for each in scenarios if each.name not in decisions]
    assert not {each.group for each in scenarios} & {each.name for each in scenarios}


def test_a_group_stands_where_its_first_scenario_did() -> None:
    chosen = run._scenarios(["websocket", "refunded", "chat", "stores"])
    groups = [[each.name for each in group] for group in run._groups(chosen)]

    assert groups == [["chat"], ["refunded", "stores"], ["websocket"]]


def test_a_round_asks_each_scenario_in_order_and_begins_with_another_peer(rig: Rig) -> None:
    group = [Scenario("one", "", peers=("a", "b")), Scenario("two", "", peers=("a", "b", "c"))]
    samples = run._rounds(rig.bench, group, ["a", "b", "c"], rig.found)

    first = ["one a", "one b", "two a", "two b", "two c"]
    assert rig.asked == [*first, "one b", "one a", "two b", "two c", "two a"]
    assert [*samples["one"]] == ["a", "b"]
    assert [sample.units for sample in samples["two"]["a"]] == [3, 10]


def test_only_the_chosen_peers_are_started_and_asked(rig: Rig) -> None:
    group = [Scenario("one", "", peers=("a", "b")), Scenario("two", "", peers=("c",))]
    samples = run._rounds(rig.bench, group, ["b"], rig.found)

    assert rig.asked == ["one b", "one b"]
    assert {scenario: [*having] for scenario, having in samples.items()} == {
        "one": ["b"],
        "two": [],
    }
    assert [*rig.bench.running] == ["b"]


def test_a_peer_that_fails_is_left_out_of_that_scenario_only(rig: Rig) -> None:
    group = [Scenario("one", "", peers=("a", "b")), Scenario("two", "", peers=("a", "b"))]
    rig.failing["two a"] = 2
    rig.found.rounds = 3
    samples = run._rounds(rig.bench, group, ["a", "b"], rig.found)

    assert [*samples["one"]] == ["a", "b"]
    assert [*samples["two"]] == ["b"]
    assert {len(taken) for having in samples.values() for taken in having.values()} == {3}
    assert rig.found.failed == {"two a": "fails"}
    assert rig.asked.count("two a") == 2


def test_a_peer_that_can_not_be_had_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(run.PEERS, "absent", Absent)
    with ExitStack() as stack:
        bench = run.Bench(tmp_path, 1, stack)
        assert bench.have("absent") is None
        assert bench.have("absent") is None

    assert bench.missing["absent"].startswith("not available: apt-get install absent")
    assert capsys.readouterr().err.count("without absent") == 1


def test_results_are_written_as_figures_tables_and_plots(tmp_path: Path) -> None:
    found = Outcome(Effort(3, 64), rounds=1, missing={"litellm": "not available: no network"})
    passed = Scenario("passed", "the whole job", group="decisions")
    found.add(passed, {"gateway": [_sample()]}, {"gateway": "1"})
    refused = Scenario("refused-by-rate", "limited", group="decisions")
    found.add(refused, {"gateway": [_sample(200)]}, {})
    found.add(Scenario("slow", "paced", rate=5.0), {"gateway": [_sample()]}, {})
    found.add(Scenario("none", "nobody can"), {}, {})
    text = found.write(tmp_path)

    assert "| gateway | 5000.0 (5000.0-5000.0) |" in text
    assert "| refused by rate / passed, CPU | 0.40 | 0.50 (0.50-0.50) | missed |" in text
    assert "- litellm: not available: no network" in text
    assert "nobody can" not in text
    assert {path.name for path in tmp_path.iterdir()} == {
        "side-by-side.json",
        "side-by-side.md",
        "side-by-side-cpu.svg",
        "side-by-side-latency.svg",
    }


def test_the_page_gets_the_figures_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nof last year\n{END}\n\nafter\n")
    found = Outcome(Effort(3, 64), rounds=1)
    samples = {"envoy": [_sample()], "gateway": [_sample()]}
    found.add(Scenario("passed", "the whole job"), samples, {})
    for _ in range(2):
        found.write_page(page)

    text = page.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "last year" not in text
    assert "| whole job / bare Envoy, CPU | 1.00 | 1.00 (1.00-1.00) | holds |" in text
    assert "| passed | 5000.0 us/request | - | 1.00 (1.00-1.00) | - | - | - |" in text


def test_the_committed_page_has_both_marks() -> None:
    text = PAGE.read_text()

    assert text.index(BEGIN) < text.index(END)


def test_plots_are_valid_with_something_and_with_nothing() -> None:
    lines = summarise(Scenario("a<b", "x"), {"gateway": [_sample()], "envoy": [_sample()]})

    for drawn in (draw_cpu({"a<b": lines}), draw_latency({"a<b": lines}), draw_cpu({})):
        ET.fromstring(drawn)
    assert draw_cpu({"a": lines}).count("<rect") == 1 + 2 * 2
    assert draw_latency({"a": lines}).count("<circle") == 3 * 2
