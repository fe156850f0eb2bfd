"""Promises are held against the figures of the same run."""

from bench.report import Line, Spread
from bench.targets import table, targets


def _line(scenario: str, peer: str, cpu: float, p50: float = 1.0, **beside: float) -> Line:
    def flat(value: float) -> Spread:
        return Spread(value, value, value)

    return Line(
        scenario=scenario,
        peer=peer,
        rounds=5,
        units_per_second=1.0,
        cpu_micros=flat(cpu),
        beside_micros=beside,
        cpu_ratios={},
        p50_ratios={},
        p50_ms=flat(p50),
        p99_ms=flat(p50),
        p999_ms=flat(p50),
        resident_mb=1.0,
        proportional_mb=1.0,
        bytes_per_unit=1.0,
        generator_micros=0.0,
    )


def test_each_is_held_missed_or_not_measured() -> None:
    lines = [
        _line("passed", "gateway", 30.0, shipping=12.0, redis=9.0),
        _line("passed", "envoy", 40.0),
        _line("passed", "nginx-lua", 50.0),
        _line("refused-by-rate", "gateway", 6.0),
    ]
    promises = {each.says: each for each in targets(lines)}

    assert promises["whole job / bare Envoy, CPU"].verdict == "holds"
    assert promises["whole job / nginx + Lua + Redis, CPU"].verdict == "missed"
    assert promises["whole job and shipping / bare Envoy, CPU"].measured == 1.05
    assert promises["refused by rate / passed, CPU"].measured == 0.2
    assert promises["p50 at one connection / nginx + Lua + Redis"].verdict == "not measured"
    assert "| whole job / bare Envoy, CPU | 1.00 | 0.75 | holds |" in table(targets(lines))
