"""Of a damaged line is kept what its own checksum proves."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.journal_format import RECORD, encode_record
from gateway.metering.salvage import salvage
from tests.metering.journals import record

LINES = [encode_record(record(number)) for number in range(3)]


def test_lines_whose_feeds_are_flipped_or_gone_are_all_right() -> None:
    joined = LINES[0][:-1] + b"\x0b" + LINES[1][:-1] + LINES[2]
    found = salvage(joined, 100)
    assert [line.kind for line in found] == [RECORD] * 3
    assert [line.is_whole for line in found] == [False, False, True]
    assert [line.payload for line in found] == [line[10:-1] for line in LINES]
    assert (found[0].start, found[-1].end) == (100, 100 + len(joined))
    assert [line.end for line in found[:-1]] == [line.start for line in found[1:]]


def test_what_lies_between_two_good_lines_is_set_aside_alone() -> None:
    damaged = LINES[1].replace(b"STARTER", b"\0\0\0\0\0\0\0")
    found = salvage(LINES[0][:-1] + b"x" + damaged[:-1] + b"x" + LINES[2], 0)
    assert [line.kind for line in found] == [RECORD, None, RECORD]
    assert found[1].payload == damaged[:-1] + b"x"


def test_a_good_line_whose_feed_went_with_the_beginning_of_the_next_is_right() -> None:
    damaged = bytes(40) + LINES[1][39:]
    found = salvage(LINES[0][:-1] + damaged, 100)
    assert [line.kind for line in found] == [RECORD, None]
    assert found[0].payload == LINES[0][10:-1]
    assert (found[0].end, found[1].start) == (99 + len(LINES[0]), 99 + len(LINES[0]))
    assert found[1].payload == damaged


def test_a_text_that_looks_like_a_line_is_none() -> None:
    """A caller may name a run as it likes: its quotes are escaped."""
    inner = LINES[1][:-1].decode()
    line = encode_record(record(1, run_id=inner)).replace(b"STARTER", b"GRATIS!")
    assert [one.kind for one in salvage(line, 0)] == [None]


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_whatever_it_is_all_of_it_is_covered(before: bytes, after: bytes) -> None:
    line = before.replace(b"\n", b"") + LINES[0][:-1] + after.replace(b"\n", b"") + b"\n"
    found = salvage(line, 7)
    assert found[0].start == 7
    assert found[-1].end == 7 + len(line)
    assert all(one.end == other.start for one, other in pairwise(found))
