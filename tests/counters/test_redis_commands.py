"""Packed commands: the same bytes as the client library's, kept on the template, bounded."""

from dataclasses import replace

import pytest
from hiredis import Reader, pack_command
from hypothesis import given
from hypothesis import strategies as st

from gateway.counters.redis_commands import (
    CHARGE,
    CORRECT,
    PREPARED_MAX,
    charge_command,
    correction_command,
    counts_of,
    mark_key,
)
from gateway.rules.charge import Correction, CounterDelta
from gateway.rules.units import MICRO
from gateway.rules.windows import Period
from tests.support.charges import charge, entry, template

PERIOD = Period("p", 1_000, 9_000_000)
LATER = Period("q", 5_000, 8_000_000)


def words_of(command: bytes) -> list[bytes]:
    """Return a RESP command as its words, read by the client library."""
    reader = Reader()
    reader.feed(command)
    words: list[bytes] = reader.gets()
    assert reader.gets() is False, "more than one command"
    return words


def test_a_charge_is_told_as_counters_span_and_amounts() -> None:
    both = template(entry("a", PERIOD, 5, counts_repeats=True), entry("b", LATER))

    assert words_of(charge_command(charge(both, 1, 2))) == [
        b"EVALSHA", CHARGE.digest.encode(), b"2", b"a:{ws}:p", b"b:{ws}:q",
        b"2", b"5000", b"8000000",
        b"1", b"5000000", b"9", b"1",
        b"2", b"", b"8", b"0",
    ]  # fmt: skip


@given(name=st.text(st.characters(exclude_categories=["Cs"])), run=st.text("%db\r\n$é", min_size=1))
def test_a_charge_with_a_run_is_packed_as_the_library_would(name: str, run: str) -> None:
    """Gaps of a prepared command are filled in: no text may shift what stands around it."""
    one = template(entry(name, PERIOD, 5))
    for hold in ("h-1", "another %s hold"):
        charged = charge(one, 3, hold=hold, run=run, run_expires_at_seconds=77)
        expected = (
            "EVALSHA", CHARGE.digest, 2, one.entries[0].key, f"idempotency:{{ws}}:{run}",
            1, 1_000, 9_000_000, 3, 5 * MICRO, 9, 0, hold, 77,
        )  # fmt: skip
        assert charge_command(charged) == pack_command(expected)


def test_the_command_of_a_template_is_packed_once_per_amounts() -> None:
    one = template(entry("a", PERIOD, 5))

    assert charge_command(charge(one, 3)) is charge_command(charge(one, 3))
    assert charge_command(charge(one, 4)) != charge_command(charge(one, 3))


def test_prepared_commands_are_bounded_and_not_copied() -> None:
    one = template(entry("a", PERIOD, 5))
    for amount in range(10 * PREPARED_MAX):
        charge_command(charge(one, amount))
        charge_command(charge(one, amount, run="r"))

    assert 0 < len(one.prepared) <= PREPARED_MAX
    assert replace(one, tag="other").prepared == {}
    assert replace(one) == one


def test_a_correction_names_its_mark_first_and_the_run_last() -> None:
    deltas = (CounterDelta("a:{ws}:p", -5, 9), CounterDelta("b:{ws}:p", 7, 8))
    kept = Correction("ws", "h", deltas, "idempotency:{ws}:r")
    released = replace(kept, release_run=True)

    assert words_of(correction_command(kept))[:6] == [
        b"EVALSHA", CORRECT.digest.encode(), b"3", b"settled:{ws}:h", b"a:{ws}:p", b"b:{ws}:p",
    ]  # fmt: skip
    assert words_of(correction_command(released, correction_id="other"))[2:] == [
        b"4", b"settled:{ws}:other", b"a:{ws}:p", b"b:{ws}:p", b"idempotency:{ws}:r",
        b"2", b"604800", b"h", b"0", b"0", b"-5", b"9", b"7", b"8",
    ]  # fmt: skip
    claiming = replace(kept, claimed_until_seconds=77)
    assert words_of(correction_command(claiming))[2:] == [
        b"4", b"settled:{ws}:h", b"a:{ws}:p", b"b:{ws}:p", b"idempotency:{ws}:r",
        b"2", b"604800", b"h", b"0", b"77", b"-5", b"9", b"7", b"8",
    ]  # fmt: skip


def test_a_mark_lives_in_the_slot_of_its_workspace() -> None:
    assert mark_key("ws", "h") == "settled:{ws}:h"


@pytest.mark.parametrize(
    ("verdict", "admitted", "repeat"),
    [(0, False, False), (1, True, False), (2, False, True), (3, True, True)],
)
def test_a_verdict_says_whether_it_passed_and_whether_it_was_known(
    verdict: int, admitted: bool, repeat: bool
) -> None:
    counts = counts_of([verdict, 17, 1, 2])

    assert (counts.admitted, counts.repeat, counts.now_micro, counts.after_micro) == (
        admitted,
        repeat,
        17,
        (1, 2),
    )
