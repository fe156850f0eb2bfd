"""Promises are held against the ratios within the rounds of the same run."""

from collections.abc import Mapping, Sequence

from bench.report import Sample
from bench.run import _scenarios
from bench.scenarios.port import Scenario
from bench.targets import Target, table, targets
from bench.wrk import Load

ENVOY = "whole job / bare Envoy, CPU"
SHIPPED = "whole job and shipping / bare Envoy, CPU"
REFUSED = "refused by rate / passed, CPU"
P50 = "p50 at one connection / nginx + Lua + Redis"
Rounds = Mapping[str, Mapping[str, Sequence[Sample]]]


def _sample(micros: float, *, p50: float = 0.001, **beside: float) -> Sample:
    load = Load(1_000_000, 20_000.0, p50, 0.004, 0)
    used = {"itself": micros} | beside
    return Sample(load, used, {}, {}, {}, units=1_000_000)


def _samples(*micros: float) -> list[Sample]:
    return [_sample(each) for each in micros]


def _promised(rounds: Rounds, scenarios: Sequence[Scenario] = ()) -> dict[str, Target]:
    return {each.says: each for each in targets(scenarios or _scenarios([]), rounds)}


def _shown(target: Target) -> str:
    return target.measured.shown(2) if target.measured else "-"


def test_each_is_held_missed_or_not_measured() -> None:
    rounds = {
        "passed": {
            "gateway": [_sample(30.0, shipping=12.0, redis=9.0)],
            "envoy": _samples(40.0),
            "nginx-lua": _samples(50.0),
        },
        "refused-by-rate": {"gateway": _samples(6.0)},
    }
    promises = _promised(rounds)

    assert promises[ENVOY].verdict == "holds"
    assert promises["whole job / nginx + Lua + Redis, CPU"].verdict == "missed"
    assert _shown(promises[SHIPPED]) == "1.05 (1.05-1.05)"
    assert _shown(promises[REFUSED]) == "0.20 (0.20-0.20)"
    for missing in ("whole job / idiomatic aiohttp, CPU", "refused by key / passed, CPU", P50):
        assert promises[missing].measured is None
        assert promises[missing].verdict == "not measured"


def test_the_median_of_ratios_counts_not_the_ratio_of_medians() -> None:
    # The ratios of the medians would be 0.25, which holds, and 0.44, which does not.
    rounds = {
        "passed": {"gateway": _samples(10.0, 40.0, 50.0)},
        "refused-by-rate": {"gateway": _samples(10.0, 10.0, 100.0)},
        "refused-by-key": {"gateway": _samples(20.0, 12.0, 17.5)},
    }
    promises = _promised(rounds)

    assert _shown(promises[REFUSED]) == "1.00 (0.25-2.00)"
    assert promises[REFUSED].verdict == "missed"
    assert _shown(promises["refused by key / passed, CPU"]) == "0.35 (0.30-2.00)"
    assert promises["refused by key / passed, CPU"].verdict == "holds"


def test_shipping_is_added_within_its_round() -> None:
    gateway = [_sample(10.0, shipping=10.0), _sample(40.0, shipping=5.0), _sample(20.0)]
    rounds = {"passed": {"gateway": gateway, "envoy": _samples(10.0, 30.0, 20.0)}}

    assert _shown(_promised(rounds)[SHIPPED]) == "1.50 (1.00-2.00)"


def test_latency_is_compared_within_a_round_too() -> None:
    def paced(*p50: float) -> list[Sample]:
        return [_sample(1.0, p50=each) for each in p50]

    rounds = {"latency-1": {"gateway": paced(1.0, 4.0, 9.0), "nginx-lua": paced(2.0, 2.0, 6.0)}}

    assert _shown(_promised(rounds)[P50]) == "1.50 (0.50-2.00)"


def test_scenarios_of_different_groups_are_not_compared() -> None:
    rounds = {"passed": {"gateway": _samples(9.0)}, "refused-by-rate": {"gateway": _samples(3.0)}}
    apart = [Scenario("passed", ""), Scenario("refused-by-rate", "")]
    together = [Scenario(each.name, "", group="decisions") for each in apart]

    assert _promised(rounds, apart)[REFUSED].verdict == "not measured"
    assert _promised(rounds, together)[REFUSED].verdict == "holds"


def test_the_table_shows_the_spread() -> None:
    rounds = {"passed": {"gateway": _samples(30.0, 20.0, 24.0), "envoy": _samples(*[40.0] * 3)}}
    text = table(targets(_scenarios([]), rounds))

    assert f"| {ENVOY} | 1.00 | 0.60 (0.50-0.75) | holds |" in text
    assert f"| {REFUSED} | 0.40 | - | not measured |" in text
