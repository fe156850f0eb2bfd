"""Frames are followed however their bytes come; an independent library makes and reads them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gateway.http.frames import UNBOUNDED, CloseCode, FrameReader, close_frame

LENGTHS = (0, 1, 125, 126, 127, 65_535, 65_536)


def wired(opcode: Opcode, payload: bytes, *, fin: bool = True, masked: bool = False) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=masked)


payloads = st.one_of(st.binary(max_size=300), st.sampled_from(LENGTHS).map(bytes))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[int], list[int]]:
    """Return bytes, where each frame begins, and where each message does."""
    data, frames, messages = b"", list[int](), list[int]()
    masked = draw(st.booleans())
    for _ in range(draw(st.integers(0, 6))):
        parts = draw(st.lists(payloads, min_size=1, max_size=4))
        kind = draw(st.sampled_from((Opcode.TEXT, Opcode.BINARY)))
        messages.append(len(data))
        for place, part in enumerate(parts):
            frames.append(len(data))
            opcode = kind if not place else Opcode.CONT
            data += wired(opcode, part, fin=place == len(parts) - 1, masked=masked)
            if draw(st.booleans()):  # control frames may stand between fragments
                frames.append(len(data))
                data += wired(draw(st.sampled_from((Opcode.PING, Opcode.PONG))), part[:125])
    return data, frames, messages


def split(data: bytes, places: list[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]


@given(conversations(), st.lists(st.integers(0, 1 << 20), max_size=12))
def test_frames_and_messages_are_found_in_any_pieces(
    talk: tuple[bytes, list[int], list[int]], places: list[int]
) -> None:
    data, frames, messages = talk
    ends = {*frames, len(data)}
    reader, passed = FrameReader(), 0

    for piece in split(data, places):
        assert reader.read(piece, 0, len(piece), UNBOUNDED) == len(piece)
        passed += len(piece)
        assert reader.is_between_frames == (passed in ends)
        assert reader.messages == sum(begin < passed for begin in messages)
    assert not reader.saw_close


@given(conversations(), st.lists(st.integers(0, 1 << 20), max_size=12), st.integers(0, 6))
def test_it_stops_before_the_first_byte_of_a_message_too_many(
    talk: tuple[bytes, list[int], list[int]], places: list[int], allowed: int
) -> None:
    data, _, messages = talk
    reader, passed = FrameReader(), 0

    for piece in split(data, places):
        stop = reader.read(piece, 0, len(piece), allowed - reader.messages)
        passed += stop
        if stop < len(piece):
            break

    expected = messages[allowed] if allowed < len(messages) else len(data)
    assert (passed, reader.messages) == (expected, min(allowed, len(messages)))
    if passed < len(data):
        assert reader.is_between_frames


@given(conversations(), st.integers(1, 3))
def test_it_goes_on_where_it_stopped(
    talk: tuple[bytes, list[int], list[int]], at_once: int
) -> None:
    data, _, messages = talk
    reader, at, stops = FrameReader(), 0, list[int]()
    while True:
        at = reader.read(data, at, len(data), at_once)
        if at == len(data):
            break
        stops.append(at)

    assert stops == messages[at_once::at_once]


@given(st.binary(max_size=400), st.lists(st.integers(0, 1 << 20), max_size=12))
def test_nonsense_is_read_the_same_in_any_pieces(data: bytes, places: list[int]) -> None:
    whole, pieces = FrameReader(), FrameReader()
    whole.read(data, 0, len(data), UNBOUNDED)
    for piece in split(data, places):
        pieces.read(piece, 0, len(piece), UNBOUNDED)

    def state(reader: FrameReader) -> tuple[int, bool, bool]:
        return reader.messages, reader.saw_close, reader.is_between_frames

    assert state(pieces) == state(whole)


def test_a_continuation_of_nothing_is_a_message() -> None:
    reader, frame = FrameReader(), wired(Opcode.CONT, b"x", masked=True)

    assert reader.read(frame * 3, 0, len(frame) * 3, 2) == len(frame) * 2
    assert reader.messages == 2


def test_only_a_part_of_the_data_is_read() -> None:
    reader, frame = FrameReader(), wired(Opcode.TEXT, b"abc")

    assert reader.read(frame + frame, len(frame), len(frame) + 3, UNBOUNDED) == len(frame) + 3
    assert (reader.messages, reader.is_between_frames) == (1, False)


@pytest.mark.parametrize("code", list(CloseCode))
@pytest.mark.parametrize("mask", [b"", b"\x01\xfe\x80\x7f"])
@pytest.mark.parametrize("reason", [b"", b"limit reached", b"x" * 200])
def test_a_close_is_read_by_others(code: CloseCode, mask: bytes, reason: bytes) -> None:
    data = close_frame(code, reason, mask)
    reader = FrameReader()

    reader.read(data, 0, len(data), 0)

    assert (reader.saw_close, reader.is_between_frames, reader.messages) == (True, True, 0)
    assert data[0] == 0x88
    assert bool(data[1] & 0x80) == bool(mask)
    payload = data[6:] if mask else data[2:]
    read = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if mask else payload
    assert read == int(code).to_bytes(2, "big") + reason[:123]
