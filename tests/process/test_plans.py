"""Plans in use are compared at the start, before each reload, and again once a database is back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config.loaded import Loaded, Settings
from gateway.errors import ConfigError, GatewayError
from gateway.keys.port import PlanUse
from gateway.process import plans
from gateway.process.plans import Comparison, PlansInForce, compare
from tests.process.configurations import loaded_in
from tests.support.fake_clock import FakeClock

NOW = 1_790_000_000_000_000
GOOD = (PlanUse("STARTER", 1, "acme"),)
BAD = (PlanUse("GONE", 2, "acme"),)


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return loaded_in(tmp_path)


def asking(*answers: Sequence[PlanUse] | None) -> Callable[[Settings], Sequence[PlanUse]]:
    """Return what gives one answer after the other; None is a database that is away."""
    left = list(answers)

    def ask(_settings: Settings) -> Sequence[PlanUse]:
        answer = left.pop(0)
        if answer is None:
            raise GatewayError("database.unavailable", "the database is away")
        return answer

    return ask


async def no_wait(_seconds: float) -> None:
    """Take no time."""


def test_a_missing_plan_is_a_fault_of_the_price_list(loaded: Loaded) -> None:
    compare(loaded, GOOD, NOW)
    with pytest.raises(
        ConfigError, match=r"pricing\.json:\d+:\d+: tiers: the plan GONE is missing"
    ):
        compare(loaded, BAD, NOW)


async def test_all_plans_are_there(loaded: Loaded) -> None:
    comparison = Comparison(lambda: NOW, asking(GOOD))

    assert await comparison.begin(loaded)
    assert comparison.open_question == ""


async def test_a_start_with_a_missing_plan_is_refused(loaded: Loaded) -> None:
    with pytest.raises(ConfigError):
        await Comparison(lambda: NOW, asking(BAD)).begin(loaded)


async def test_a_directory_that_is_away_is_asked_until_it_answers(loaded: Loaded) -> None:
    comparison = Comparison(lambda: NOW, asking(None, None, BAD, BAD, GOOD))
    with capture_logs() as lines:
        assert not await comparison.begin(loaded)
        assert comparison.open_question == "plans in use not compared"
        await comparison.repeat(lambda: loaded, no_wait)

    assert comparison.open_question == ""
    assert [line["event"] for line in lines] == [
        "config.not_compared", "config.plans_missing", "config.compared",
    ]  # fmt: skip


async def test_a_difference_that_is_found_later_keeps_it_from_being_ready(loaded: Loaded) -> None:
    comparison = Comparison(lambda: NOW, asking(None, BAD, GOOD))
    seen: list[str] = []

    async def wait(_seconds: float) -> None:
        seen.append(comparison.open_question)

    await comparison.begin(loaded)
    await comparison.repeat(lambda: loaded, wait)

    assert seen == ["plans in use not compared", "plans in use are in no price list"]


def test_keys_written_by_hand_and_a_database_that_is_not_made_ask_nothing(
    loaded: Loaded, tmp_path: Path
) -> None:
    for keys in ("file:x", "env:X", f"sqlite:///{tmp_path}/gone.db"):
        assert plans.ask(replace(loaded.settings, keys=keys)) == ()
    assert not (tmp_path / "gone.db").exists(), "asking makes nothing"


def test_plans_in_force_are_those_that_all_prices_from_now_on_have(loaded: Loaded) -> None:
    (present,) = loaded.snapshot.pricings
    clock = FakeClock(NOW)
    later = replace(
        present,
        effective_from_micro=NOW + 1,
        tiers={name: tier for name, tier in present.tiers.items() if name != "STARTER"},
    )
    known = PlansInForce(replace(loaded.snapshot, pricings=(present,)), clock)
    assert "STARTER" in (known() or ())

    known.snapshot = replace(loaded.snapshot, pricings=(present, later))
    assert known() == frozenset(later.tiers)
    known.snapshot = replace(loaded.snapshot, pricings=())
    assert known() is None
