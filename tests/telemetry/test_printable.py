"""Text for terminals: nothing in it is obeyed, all of it can be written and read back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.printable import has_characters, json_text, one_line, printable

ANY_TEXT = st.text(st.characters())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("₩ café 漢字 😀", "₩ café 漢字 😀"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\tc\x07", "a\\rb\\tc\\x07"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("abc\u202edef\u2066", "abc\\u202edef\\u2066"),
        ("caf\udce9", "caf\udce9"),  # the stream's own escape
    ],
)
def test_what_a_terminal_obeys_is_written_as_in_a_literal(text: str, shown: str) -> None:
    assert printable(text) == one_line(text) == shown


def test_line_ends_stay_only_where_lines_are_wanted() -> None:
    assert printable("a\nb") == "a\nb"
    assert one_line("a\nb\u2028c") == "a\\nb\\u2028c"


@given(ANY_TEXT)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = one_line(text)

    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert one_line(shown) == shown


@given(ANY_TEXT, st.sampled_from(["ascii", "latin-1", "utf-8", "utf-16", "shift_jis"]))
def test_json_can_be_written_in_every_encoding_and_read_back(text: str, encoding: str) -> None:
    written = json_text({"name": text}, encoding)

    assert json.loads(written.encode(encoding).decode(encoding)) == {"name": text}
    assert printable(written) == written


def test_an_encoding_has_a_character_or_not() -> None:
    assert has_characters("utf-8", "₩")
    assert not has_characters("latin-1", "₩")
    assert not has_characters("utf-8", "\udce9")
    assert has_characters("ascii", "")
