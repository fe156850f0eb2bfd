"""C7: lines of the journal: whole ones come back, damaged ones are never taken for whole."""

import zlib
from dataclasses import fields

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.journal_format import (
    _CLAIM_FIELDS,
    _FIELDS,
    _SETTLED_FIELDS,
    ACKNOWLEDGED,
    CORRECTED,
    RECORD,
    _line,
    crc32,
    decode_acknowledgement,
    decode_record,
    encode_acknowledgement,
    encode_record,
    hold_id_of,
    parse_line,
)
from gateway.rules.record import Record
from tests.metering.journals import record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MAYBE = st.none() | TEXT
COUNT = st.integers(-(2**53), 2**53)
RECORDS = st.builds(
    Record,
    event_id=TEXT,
    request_id=TEXT,
    occurred_at_micro=COUNT,
    workspace_id=MAYBE,
    key_id=MAYBE,
    plan=MAYBE,
    route=MAYBE,
    method=TEXT,
    run_id=MAYBE,
    status=st.integers(0, 599),
    outcome=TEXT,
    code=MAYBE,
    billable=st.booleans(),
    reason=TEXT,
    repeat=st.booleans(),
    quantities_micro=st.dictionaries(TEXT, COUNT, max_size=3),
    charged_micro=st.dictionaries(TEXT, COUNT, max_size=3),
    pricing_version=MAYBE,
    period=MAYBE,
    flags=st.lists(TEXT, max_size=3),
    violated=st.lists(TEXT, max_size=3),
    deltas=st.lists(st.tuples(TEXT, COUNT, COUNT).map(list), max_size=3),
    run_key=st.none() | st.text("abc:{}", min_size=1, max_size=9),
    count=st.just(1) | st.integers(1, 2**40),
) | st.builds(
    record,
    st.just(1),
    deltas=st.lists(st.tuples(TEXT, COUNT, COUNT).map(list), max_size=3),
    run_key=st.text("abc:{}", min_size=1, max_size=9),
    claimed_reason=st.text("abc_2", min_size=1, max_size=9),
    claimed_until_seconds=st.integers(1, 2**40),
)


@given(RECORDS)
def test_a_record_comes_back_as_it_was(original: Record) -> None:
    """X6: nothing of a record is lost in its line."""
    line = encode_record(original)
    kind, payload = parse_line(line)
    assert line.count(b"\n") == 1
    assert kind == (CORRECTED if original.deltas or original.run_key else RECORD)
    assert decode_record(payload) == original
    assert hold_id_of(payload) == original.event_id


@given(RECORDS)
def test_a_line_says_its_values_in_the_order_of_their_names(original: Record) -> None:
    """X6: the order is the format; journals of earlier versions are read by it."""
    names = _FIELDS[:-1] if original.deltas or original.run_key else _SETTLED_FIELDS
    if not original.claimed_reason:
        names = tuple(name for name in names if name not in _CLAIM_FIELDS)
    if original.count > 1:
        names = _FIELDS

    values = orjson.loads(encode_record(original)[10:])

    assert values == [getattr(original, name) for name in names]


@given(st.binary(max_size=600))
def test_the_checksum_is_the_one_that_any_zlib_tells(payload: bytes) -> None:
    """A journal is read on another machine than wrote it, perhaps without the faster one."""
    assert _line(RECORD, crc32(payload, crc32(RECORD)), payload)[1:9] == (
        b"%08x" % zlib.crc32(payload, zlib.crc32(b"R"))
    )


@given(st.data())
def test_a_flipped_bit_is_always_found(data: st.DataObject) -> None:
    line = bytearray(encode_record(record(1, owes=-1)))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= 1 << data.draw(st.integers(0, 7))
    assert parse_line(bytes(line))[0] is None


def test_acknowledgements_come_back() -> None:
    kind, payload = parse_line(encode_acknowledgement(["a", "b"]))
    assert kind == ACKNOWLEDGED
    assert decode_acknowledgement(payload) == ["a", "b"]


def test_values_of_a_later_version_are_ignored() -> None:
    claiming = record(1, owes=1, run_key="r", claimed_reason="success", claimed_until_seconds=7)
    payload = encode_record(claiming)[10:-2] + b',1,"red"]'
    assert decode_record(payload) == claiming


def test_what_an_earlier_version_wrote_stands_for_one_request() -> None:
    claiming = record(1, owes=1, run_key="r", claimed_reason="success", claimed_until_seconds=7)
    for written in (record(1), record(1, owes=-1), claiming):
        payload = encode_record(written)[10:-1]
        assert len(orjson.loads(payload)) < len(_FIELDS)
        assert decode_record(payload).count == 1


def test_only_what_stands_for_several_requests_says_so() -> None:
    line = encode_record(record(1, count=31))
    assert (line[:1], orjson.loads(line[10:])[-1]) == (RECORD, 31)


def test_what_an_earlier_version_wrote_claims_nothing() -> None:
    payload = encode_record(record(1, owes=-1, run_key="r"))[10:-1]
    assert len(orjson.loads(payload)) == len(_FIELDS) - len(_CLAIM_FIELDS) - 1
    read = decode_record(payload)
    assert (read.claimed_reason, read.claimed_until_seconds) == ("", 0)


def test_every_field_of_a_record_has_its_place() -> None:
    assert {field.name for field in fields(Record)} == set(_FIELDS)


@pytest.mark.parametrize("payload", [b"[]", b"{}", b"12", b"{", b"[1,2]"])
def test_what_is_no_record_is_said_so(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"record|unexpected|EOF|expected"):
        decode_record(payload)
