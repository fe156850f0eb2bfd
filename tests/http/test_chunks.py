"""Chunks are read strictly, and the same however they are cut; h11 agrees on every good body."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.chunks import LINE_BYTES_MAX, OVERHEAD_BYTES_MAX, BrokenChunks, ChunkDecoder

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def decoded(
    data: bytes, cuts: set[int] | None = None
) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Return body, trailers and what follows; the last only if the body came to its end."""
    decoder = ChunkDecoder(1024, 8)
    pieces: list[bytes] = []
    ends = [*sorted(cut for cut in cuts or () if 0 < cut < len(data)), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        part = data[start:end]
        stopped = decoder.feed(part, 0, pieces)
        if decoder.is_complete:
            return b"".join(pieces), decoder.trailers, data[start + stopped :]
        assert stopped == len(part)
    raise EOFError


def judged(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Return the same as h11 reads it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(HEAD + data)
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return body, event.headers.raw_items(), connection.trailing_data[0]
        else:
            assert isinstance(event, h11.Request)


TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8).map(str.encode)
QUOTED = st.lists(
    st.sampled_from([b" ", b"\t", b"a", b"~", b"\xe9", b'\\"', b"\\\\", b";", b"="]), max_size=6
).map(lambda parts: b'"' + b"".join(parts) + b'"')
EXTENSION = st.one_of(
    TOKEN.map(lambda name: b";" + name),
    st.tuples(TOKEN, st.one_of(TOKEN, QUOTED)).map(lambda pair: b";%b=%b" % pair),
)
CHUNK = st.tuples(
    st.binary(min_size=1, max_size=60), st.lists(EXTENSION, max_size=2), st.booleans()
)
TRAILERS = st.lists(st.tuples(TOKEN, st.text("abc xyz", max_size=9).map(str.encode)), max_size=3)


def written(
    chunks: list[tuple[bytes, list[bytes], bool]], trailers: list[tuple[bytes, bytes]]
) -> bytes:
    parts = []
    for data, extensions, upper in chunks:
        size = b"%X" % len(data) if upper else b"00%x" % len(data)
        parts.append(size + b"".join(extensions) + b"\r\n" + data + b"\r\n")
    parts.append(b"0\r\n")
    parts.extend(b"%b: %b\r\n" % trailer for trailer in trailers)
    return b"".join(parts) + b"\r\n"


@given(st.lists(CHUNK, max_size=5), TRAILERS, st.binary(max_size=20), st.sets(st.integers(1, 400)))
def test_a_good_body_is_read_the_same_however_it_is_cut(
    chunks: list[tuple[bytes, list[bytes], bool]],
    trailers: list[tuple[bytes, bytes]],
    behind: bytes,
    cuts: set[int],
) -> None:
    data = written(chunks, trailers) + behind
    body, read_trailers, rest = decoded(data)

    assert body == b"".join(chunk[0] for chunk in chunks)
    assert read_trailers == [(name, value.strip()) for name, value in trailers]
    assert rest == behind
    cut_body, cut_trailers, _ = decoded(data, cuts)
    assert (cut_body, cut_trailers) == (body, read_trailers)


@given(st.lists(CHUNK, max_size=4), TRAILERS)
def test_h11_reads_a_good_body_alike(
    chunks: list[tuple[bytes, list[bytes], bool]], trailers: list[tuple[bytes, bytes]]
) -> None:
    data = written(chunks, trailers) + b"GET /"

    assert decoded(data) == judged(data)


SMALL = st.lists(
    st.sampled_from([b"0", b"1", b"a", b"5", b"\r", b"\n", b"\r\n", b";", b"=", b'"', b" ", b"\t",
                     b"x", b"-", b"+", b"_", b"\0", b":", b"hello", b"0\r\n", b"5\r\nhello\r\n",
                     b"0\r\n\r\n"]),
    max_size=12,
).map(b"".join)  # fmt: skip


@given(SMALL)
def test_whatever_is_taken_h11_takes_too_and_ends_at_the_same_byte(data: bytes) -> None:
    try:
        result = decoded(data)
    except (BrokenChunks, EOFError):
        return

    assert result == judged(data)


@given(st.binary(max_size=200), st.sets(st.integers(1, 200)))
def test_a_body_is_broken_or_not_however_it_is_cut(data: bytes, cuts: set[int]) -> None:
    def outcome(cuts: set[int]) -> object:
        try:
            return decoded(data, cuts)[:2]
        except (BrokenChunks, EOFError) as error:
            return type(error)

    assert outcome(set()) == outcome(cuts)


@pytest.mark.parametrize(
    "data",
    [
        b"5 \r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5\t\r\nhello\r\n0\r\n\r\n",
        b"5;\r\nhello\r\n0\r\n\r\n",
        b"5;;a\r\nhello\r\n0\r\n\r\n",
        b"5;=b\r\nhello\r\n0\r\n\r\n",
        b"5;a=\r\nhello\r\n0\r\n\r\n",
        b"5; a\r\nhello\r\n0\r\n\r\n",
        b"5;a =b\r\nhello\r\n0\r\n\r\n",
        b'5;a="b\r\nhello\r\n0\r\n\r\n',
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a\0\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello!!\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"1_0\r\nhello world!!!!!\r\n0\r\n\r\n",
        b"5.0\r\nhello\r\n0\r\n\r\n",
        b"\xb2\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"0000000000000005\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\nX: y\rz\r\n\r\n",
        b"0\r\nX: y\0\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\n: y\r\n\r\n",
    ],
)
def test_what_two_could_read_in_two_ways_is_broken(data: bytes) -> None:
    for cuts in (set[int](), set(range(1, 60))):
        with pytest.raises(BrokenChunks) as caught:
            decoded(data, cuts)
        assert not caught.value.is_too_large


@pytest.mark.parametrize(
    "data",
    [
        b"5;a" + b"a" * LINE_BYTES_MAX,
        b"0" * (LINE_BYTES_MAX + 8),
        (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * (OVERHEAD_BYTES_MAX // 900),
        b"0\r\n" + b"X: y\r\n" * 9,
        b"0\r\nX: " + b"y" * 2000,
        b"0\r\n" + (b"X: " + b"y" * 400 + b"\r\n") * 3 + b"\r\n",
    ],
)
def test_what_has_no_end_is_given_up(data: bytes) -> None:
    for cuts in (set[int](), set(range(1, len(data), 7))):
        with pytest.raises(BrokenChunks) as caught:
            decoded(data, cuts)
        assert caught.value.is_too_large


def test_many_small_chunks_of_an_honest_sender_are_no_overhead() -> None:
    data = b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"

    assert decoded(data)[0] == b"x" * 100_000
