"""The table tells medians and ratios, and nothing if a request failed."""

import json
from pathlib import Path

import pytest

from bench.report import Line, Sample, summarise, table, write
from bench.wrk import Load


def _sample(cpu_seconds: float, *, failed: int = 0, **beside: float) -> Sample:
    load = Load(
        requests=100_000,
        requests_per_second=20_000.0,
        p50_seconds=0.001,
        p99_seconds=0.004,
        failed=failed,
    )
    used = {"itself": cpu_seconds} | beside
    return Sample(load, used, dict.fromkeys(used, 10 * 1024**2))


def _lines() -> list[Line]:
    return [
        summarise("envoy", [_sample(4.0)]),
        summarise(
            "gateway", [_sample(3.1, redis=0.9), _sample(2.9, redis=1.1), _sample(3.0, redis=1.0)]
        ),
    ]


def test_a_line_has_medians_and_the_spread() -> None:
    line = _lines()[1]

    assert (line.cpu_micros, line.cpu_micros_lowest, line.cpu_micros_highest) == (30.0, 29.0, 31.0)
    assert line.beside_micros == {"redis": 10.0}
    assert (line.p50_ms, line.p99_ms, line.resident_mb) == (1.0, 4.0, 10.0)


def test_a_failed_request_spoils_the_measurement() -> None:
    with pytest.raises(ValueError, match="gateway: 1 requests failed"):
        summarise("gateway", [_sample(1.0), _sample(1.0, failed=1)])


def test_the_table_compares_with_the_baselines_that_ran() -> None:
    head, _, envoy, gateway = table(_lines()).splitlines()

    assert "x envoy" in head
    assert "x nginx" not in head
    assert envoy.split(" | ")[3] == "1.00"
    assert gateway.split(" | ")[3:5] == ["0.75", "redis 10.0"]


def test_raw_rounds_are_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    write(path, about={"cores": 2}, lines=_lines(), samples={"envoy": [_sample(4.0)]})
    document = json.loads(path.read_text())

    assert document["about"] == {"cores": 2}
    assert document["rounds"]["envoy"][0]["load"]["requests"] == 100_000
    assert [line["peer"] for line in document["summary"]] == ["envoy", "gateway"]
