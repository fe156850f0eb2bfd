"""Tables tell medians and ratios, and nothing if a request failed."""

import json
from pathlib import Path

import pytest

from bench.report import Line, Sample, round_ratios, spread, summarise, table, write
from bench.scenarios.port import Scenario
from bench.wrk import Load

PASSED = Scenario("passed", "the whole job")
PACED = Scenario("latency", "at a rate", rate=100.0)


def _sample(cpu_seconds: float, *, failed: int = 0, p50: float = 0.001, **beside: float) -> Sample:
    load = Load(
        requests=100_000,
        requests_per_second=20_000.0,
        p50_seconds=p50,
        p99_seconds=0.004,
        failed=failed,
        p999_seconds=0.009,
        read_bytes=25_000_000,
        own_cpu_seconds=2.0,
    )
    used = {"itself": cpu_seconds} | beside
    held = dict.fromkeys(used, 10 * 1024**2)
    return Sample(load, used, held, held, {"main": cpu_seconds}, units=100_000)


def _rounds() -> dict[str, list[Sample]]:
    return {
        "envoy": [_sample(4.0), _sample(5.8), _sample(4.0)],
        "gateway": [
            _sample(3.2, redis=0.9),
            _sample(2.9, redis=1.1),
            _sample(3.0, redis=1.0, p50=0.0005),
        ],
    }


def _lines() -> list[Line]:
    return summarise(PASSED, _rounds())


def test_a_line_has_medians_and_the_spread() -> None:
    line = _lines()[1]

    assert line.cpu_micros == spread([30.0, 29.0, 32.0])
    assert line.beside_micros == {"redis": 10.0}
    assert (line.p50_ms.median, line.p99_ms.median, line.p999_ms.median) == (1.0, 4.0, 9.0)
    assert (line.proportional_mb, line.bytes_per_unit, line.generator_micros) == (10.0, 250.0, 20.0)


def test_ratios_are_those_of_the_same_round() -> None:
    ratio = _lines()[1].cpu_ratios["envoy"]

    assert (ratio.lowest, ratio.median, ratio.highest) == pytest.approx((0.5, 0.75, 0.8))


def test_a_ratio_is_of_two_samples_of_one_round() -> None:
    assert round_ratios([1.0, 6.0, 3.0], [2.0, 2.0, 2.0]) == spread([0.5, 3.0, 1.5])
    assert round_ratios([1.0, 2.0], [1.0, 0.0]) is None
    with pytest.raises(ValueError, match="shorter"):
        round_ratios([1.0, 2.0], [1.0])


def test_a_failed_request_spoils_the_measurement() -> None:
    with pytest.raises(ValueError, match="gateway: 1 requests failed"):
        summarise(PASSED, {"gateway": [_sample(1.0), _sample(1.0, failed=1)]})


def test_the_upstream_itself_has_no_cpu_of_its_own() -> None:
    bare = Sample(_sample(1.0).load, {}, {}, {}, {}, units=100_000)
    direct, envoy = summarise(PACED, {"direct": [bare], "envoy": [_sample(4.0)]})

    assert direct.cpu_micros.median == 0
    assert direct.cpu_ratios == {}
    assert direct.p50_ratios["envoy"].median == envoy.p50_ms.median == 1.0


def test_the_table_compares_with_the_baselines_that_ran() -> None:
    head, _, envoy, gateway = table(PASSED, _lines()).splitlines()

    assert "x envoy" in head
    assert "x nginx" not in head
    assert envoy.split(" | ")[2] == "1.00 (1.00-1.00)"
    assert gateway.split(" | ")[1:3] == ["30.0 (29.0-32.0)", "0.75 (0.50-0.80)"]
    assert "redis 10.0" in gateway


def test_a_table_at_a_rate_compares_latencies() -> None:
    head, _, _, gateway = table(PACED, summarise(PACED, _rounds())).splitlines()

    assert head.split(" | ")[1:5] == ["p50 ms", "p99 ms", "p99.9 ms", "x envoy"]
    assert gateway.split(" | ")[1] == "1.00 (0.50-1.00)"
    assert gateway.split(" | ")[4] == "1.00 (0.50-1.00)"
    assert gateway.endswith("| 20 |")


def test_raw_rounds_are_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    write(
        path,
        about={"cores": 2},
        lines=_lines(),
        rounds={"passed": _rounds()},
        missing={"litellm": "not available: no network"},
    )
    document = json.loads(path.read_text())

    assert document["about"] == {"cores": 2}
    assert document["missing"] == {"litellm": "not available: no network"}
    assert document["rounds"]["passed"]["envoy"][0]["load"]["requests"] == 100_000
    assert [line["peer"] for line in document["summary"]] == ["envoy", "gateway"]
