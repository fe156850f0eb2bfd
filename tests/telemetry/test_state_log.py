"""A fault that comes with each call is told once, counted, and told when it is over."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.rules.units import MICRO
from gateway.telemetry.state_log import (
    EVERY_SECONDS,
    KINDS_MAX,
    OTHERS,
    QUIET_SECONDS,
    StateLog,
    end_all,
    kind_of,
    look_at_all,
)

Lines = list[MutableMapping[str, Any]]


class Now:
    """A time that is moved."""

    micro = 0

    def __call__(self) -> int:
        return self.micro

    def advance(self, seconds: float) -> None:
        self.micro += round(seconds * MICRO)


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def faults(now: Now) -> StateLog:
    return StateLog(structlog.get_logger("test"), "store.error", now)


def test_ten_thousand_in_a_row_are_one_line_and_its_end(
    faults: StateLog, now: Now, lines: Lines
) -> None:
    for _ in range(10_000):
        faults.note("OOM", reason="OOM command not allowed")
        now.advance(0.0001)
    now.advance(QUIET_SECONDS)
    faults.look()
    faults.look()

    assert lines == [
        {"event": "store.error", "log_level": "error", "reason": "OOM command not allowed"},
        {
            "event": "store.error_over", "log_level": "warning", "count": 10_000,
            "kinds": {"OOM": 10_000}, "seconds": 0,
        },
    ]  # fmt: skip


def test_the_first_is_told_at_once_and_each_kind_for_itself(faults: StateLog, lines: Lines) -> None:
    told = [faults.note(kind, reason=kind) for kind in ("OOM", "OOM", "LOADING", "OOM")]

    assert told == [True, False, True, False]
    assert [line["reason"] for line in lines] == ["OOM", "LOADING"]


def test_what_lasts_is_told_of_each_minute(faults: StateLog, now: Now, lines: Lines) -> None:
    for second in range(3 * EVERY_SECONDS + 1):
        faults.note("OOM", reason=f"{second}")
        now.advance(1)
        faults.look()

    repeated = [line["repeated"] for line in lines[1:]]
    assert repeated == [EVERY_SECONDS - 1, EVERY_SECONDS, EVERY_SECONDS]
    assert {line["event"] for line in lines} == {"store.error"}
    assert lines[-1]["count"] == 3 * EVERY_SECONDS
    assert lines[-1]["reason"] == f"{3 * EVERY_SECONDS - 1}", "the last one"


def test_a_minute_is_told_of_by_the_next_one_where_nobody_looks(
    faults: StateLog, now: Now, lines: Lines
) -> None:
    for _ in range(EVERY_SECONDS + 1):
        faults.note("OOM")
        now.advance(1)
    assert [line.get("repeated") for line in lines] == [None, EVERY_SECONDS]


def test_after_its_end_it_is_told_anew(faults: StateLog, now: Now, lines: Lines) -> None:
    faults.note("OOM")
    now.advance(QUIET_SECONDS)
    faults.note("OOM")

    assert [line["event"] for line in lines] == ["store.error", "store.error_over", "store.error"]


def test_a_server_that_words_each_error_anew_is_told_of_as_much(
    faults: StateLog, lines: Lines
) -> None:
    for number in range(1000):
        faults.note(f"kind {number}")
    faults.over()

    assert len(lines) == KINDS_MAX + 2
    assert lines[-1]["kinds"][OTHERS] == 1000 - KINDS_MAX
    assert lines[-1]["count"] == 1000


def test_nothing_came_nothing_is_told(faults: StateLog, now: Now, lines: Lines) -> None:
    now.advance(1000)
    faults.look()
    faults.over()
    assert lines == []


def test_all_of_a_process_are_looked_at_and_ended(now: Now, lines: Lines) -> None:
    one, other = (StateLog(structlog.get_logger("t"), name, now) for name in ("one", "other"))
    one.note()
    now.advance(QUIET_SECONDS)
    other.note()
    look_at_all()
    assert [line["event"] for line in lines] == ["one", "other", "one_over"]
    end_all()
    assert lines[-1]["event"] == "other_over"
    del one, other


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from([0.0, 0.3, 5.0, 9.9, 10.0, 61.0]), st.booleans()
        )
    )
)
def test_every_occurrence_is_in_one_total(steps: list[tuple[str, float, bool]]) -> None:
    """And there are few lines: one a kind and state, one a minute, one in the end."""
    now = Now()
    with capture_logs() as lines:
        faults = StateLog(structlog.get_logger("test"), "e", now)
        for kind, seconds, looks in steps:
            faults.note(kind)
            now.advance(seconds)
            if looks:
                faults.look()
        faults.over()

    ends = [line for line in lines if line["event"] == "e_over"]
    assert sum(line["count"] for line in ends) == len(steps)
    assert sum(sum(line["kinds"].values()) for line in ends) == len(steps)
    firsts = [line for line in lines if line["event"] == "e" and "repeated" not in line]
    assert len(firsts) == sum(len(line["kinds"]) for line in ends)
    minutes = [line for line in lines if "repeated" in line]
    assert len(minutes) <= now.micro // (EVERY_SECONDS * MICRO)


def test_bugs_are_told_apart_by_where_they_were_raised() -> None:
    def fails(number: int) -> None:
        if number:
            raise ValueError(number)
        raise ValueError

    kinds = []
    for number in (0, 1, 2):
        try:
            fails(number)
        except ValueError as error:
            kinds.append(kind_of(error))
    assert kinds[0] != kinds[1] == kinds[2]
    assert kinds[0].startswith("ValueError fails:")
    assert kind_of(KeyError("never raised")) == "KeyError"
