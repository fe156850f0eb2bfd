"""How durations and instants are written on the command line."""

import pytest
import typer

from gateway.cli.arguments import duration_seconds, instant_micro
from gateway.rules.units import MICRO
from tests.support.plans import NOW_MICRO


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800)]
)
def test_a_duration_names_its_unit(text: str, seconds: int) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1.5h", "1w", "9999999d"])
def test_what_is_no_duration_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration"):
        duration_seconds(text)


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("1d", NOW_MICRO + 86_400 * MICRO),
        ("2026-11-20", NOW_MICRO),
        ("2026-11-20T09:00:00+09:00", NOW_MICRO),
        ("2026-11-20T00:00:00Z", NOW_MICRO),
    ],
)
def test_an_instant_is_a_duration_from_now_or_a_date(text: str, micro: int) -> None:
    assert instant_micro(text, NOW_MICRO) == micro


@pytest.mark.parametrize("text", ["2100-01-01", "9999-12-31T23:59:59-05:00", "999999d"])
def test_an_instant_lies_before_2100(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not before 2100"):
        instant_micro(text, NOW_MICRO)


def test_what_is_neither_is_wrong_usage() -> None:
    with pytest.raises(typer.BadParameter, match="neither a duration"):
        instant_micro("tomorrow", NOW_MICRO)
