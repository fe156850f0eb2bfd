"""Lines that need no parser are read as llhttp reads them; what is remembered is bounded."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http import field_lines
from gateway.http.field_lines import Field, plain_field


class Judge:
    """The only field of a head, as llhttp reads it."""

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))


def as_llhttp_reads(line: bytes) -> list[tuple[bytes, bytes]]:
    judge = Judge()
    httptools.HttpRequestParser(judge).feed_data(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n")
    return judge.pairs


PIECES = st.sampled_from([
    b"X", b"x-y", b"Host", b"Server", b"Date", b":", b": ", b" ", b"\t", b"\r", b"\n", b"\0",
    b"\x7f", b"\x80", b"\xe9", b"a", b"a b", b'"', b"(", b"_", b"~", b"!", b",", b";",
])  # fmt: skip
LINES = st.lists(PIECES, max_size=8).map(b"".join) | st.binary(max_size=12)


@given(LINES)
@example(b"X: a  b")
@example(b"Host: a")
def test_what_needs_no_parser_is_read_as_one_reads_it(line: bytes) -> None:
    field = plain_field(line)
    if field is None:
        return

    assert as_llhttp_reads(line) == [(field.name, field.value)]
    assert (field.key, field.line) == (field.name.lower(), line + b"\r\n")
    again = plain_field(line)
    assert again is not None
    assert (again.key, again.value, again.line) == (field.key, field.value, field.line)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"X", b":", b": y", b"X:y", b"X: ", b"X:  y", b"X: y ", b"X: \ty", b"X: a\tb",
        b"X: \xe9", b"X: \x7f", b"X: a\rb", b"X: a\nb", b"X : y", b" X: y", b"X_Y: z", b"X\0: y",
        b"\xe9: y", b"Host\r: y",
    ],
)  # fmt: skip
def test_what_is_unusual_is_left_to_the_parser(line: bytes) -> None:
    assert plain_field(line) is None


def known() -> dict[bytes, Field]:
    return field_lines._known


def test_no_more_is_remembered_than_may_be() -> None:
    for number in range(3 * field_lines._KNOWN_MAX):
        assert plain_field(b"User-Agent: %d" % number) is not None
        assert len(known()) <= field_lines._KNOWN_MAX
    long = b"User-Agent: " + b"a" * field_lines._KNOWN_BYTES_MAX
    assert plain_field(long) is not None
    assert long not in known()


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Bearer egw_live_secret",
        b"X-API-Key: egw_live_secret",
        b"Cookie: session=secret",
        b"Set-Cookie: session=secret",
        b"Proxy-Authorization: Basic c2VjcmV0",
        b"X-Anything: secret",
    ],
)
def test_nothing_that_may_be_secret_is_remembered(line: bytes) -> None:
    assert plain_field(line) is not None
    assert line not in known()


def field_of(line: bytes) -> Field:
    field = plain_field(line)
    assert field is not None
    return field


@pytest.mark.parametrize("value", [b"0", b"1", b"10", b"9" * 15])
def test_plain_lengths(value: bytes) -> None:
    assert field_of(b"Content-Length: " + value).length == int(value)


@pytest.mark.parametrize("value", [b"01", b"+1", b"1,1", b"1 1", b"0x1", b"9" * 16, b"-1"])
def test_other_lengths(value: bytes) -> None:
    field = field_of(b"Content-Length: " + value)
    assert (field.frames, field.length) == (True, -1)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Connection: keep-alive", True),
        (b"connection: Keep-Alive", True),
        (b"Connection: close", False),
        (b"Connection: keep-alive, x", False),
        (b"Upgrade: keep-alive", False),
    ],
)
def test_only_what_is_so_anyway_keeps_alive(line: bytes, expected: bool) -> None:
    field = field_of(line)
    assert (field.frames, field.length) == (True, -1)
    assert field.keeps_alive is expected
