"""JSON with positions: the values are the standard library's, the places are counted."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.json_positions import (
    DEPTH_MAX,
    JsonPath,
    JsonSyntaxError,
    Position,
    parse_json,
    path_text,
)

TEXT = """{
  "a": 1,
  "b": [true, {"c d": null}],
  "\u20a9": "x"
}
"""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values, st.sampled_from([None, 0, 2]))
def test_values_are_those_of_the_standard_library(value: object, indent: int | None) -> None:
    assert parse_json(json.dumps(value, indent=indent)).value == value


@given(values)
def test_every_value_stands_where_it_is_said_to_stand(value: object) -> None:
    text = json.dumps(value, indent=1)
    lines = text.split("\n")
    document = parse_json(text)

    def check(part: object, path: JsonPath) -> None:
        position = document.value_at(path)
        rest = "\n".join(lines[position.line - 1 :])[position.column - 1 :]
        first = json.dumps(part)[:1]
        assert rest.startswith(first)
        if isinstance(part, dict):
            for name, member in part.items():
                key = document.key_at((*path, name))
                assert lines[key.line - 1][key.column - 1 :].startswith(json.dumps(name))
                check(member, (*path, name))
        if isinstance(part, list):
            for index, item in enumerate(part):
                check(item, (*path, index))

    check(value, ())


def test_lines_and_columns_count_from_one() -> None:
    document = parse_json(TEXT)

    assert document.value_at(()) == Position(1, 1)
    assert document.key_at(("a",)) == Position(2, 3)
    assert document.value_at(("a",)) == Position(2, 8)
    assert document.value_at(("b", 1, "c d")) == Position(3, 23)
    assert document.value_at(("\u20a9",)) == Position(4, 8)
    assert document.key_at(("b", 0)) == document.value_at(("b", 0))


def test_what_is_not_there_is_shown_at_its_nearest_ancestor() -> None:
    assert parse_json(TEXT).value_at(("b", 1, "missing", "deeper")) == Position(3, 15)


def test_a_key_that_stands_twice_is_told() -> None:
    """RFC 7493 2.3: which of the two counts is anybody's guess."""
    document = parse_json('{"a": {"b": 1,\n"b": 2,\n"b": 3}, "b": 4}')

    assert document.repeated == {("a", "b"): Position(1, 8)}
    assert document.key_at(("a", "b")) == Position(3, 1)


def test_numbers_with_a_point_are_exact() -> None:
    """T8: 0.1 is not a binary fraction."""
    assert parse_json("[0.1, 1e2, 3]").value == [Decimal("0.1"), Decimal("1e2"), 3]


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", (1, 1), "a JSON value must stand here"),
        ("{", (1, 2), "a key in double quotes must stand here"),
        ('{"a" 1}', (1, 6), "':' must stand here"),
        ('{"a": 1 "b": 2}', (1, 9), "',' must stand here"),
        ('{"a": 1,}', (1, 9), "a key in double quotes must stand here"),
        ("[1, ]", (1, 5), "a JSON value must stand here"),
        ("[1 2]", (1, 4), "',' must stand here"),
        ("[1]\n\n x", (3, 2), "something follows the JSON value"),
        ("\ufeff{}", (1, 1), "begins with a byte order mark"),
        ("[NaN]", (1, 2), "a JSON value must stand here"),
        ("[Infinity]", (1, 2), "a JSON value must stand here"),
        ("[-Infinity]", (1, 2), "not a number that can be read"),
        (f"[{'9' * 5000}]", (1, 2), "not a number that can be read"),
        ("[1e99999999999999999999]", (1, 2), "not a number that can be read"),
        ("[1.5e-99999999999999999999]", (1, 2), "not a number that can be read"),
        ('["\\ud800"]', (1, 2), "half of a surrogate pair is not a character"),
        ('["a\nb"]', (1, 4), "a tab, a line break or the like in a text: write \\t or \\n"),
        ('["abc', (1, 2), "the quote that ends this text is missing"),
        ('["\\q"]', (1, 3), "a backslash that begins no escape: write \\\\"),
        ('["\\u12"]', (1, 4), "\\u needs four hexadecimal digits behind it"),
        ("[tru]", (1, 2), "can't be read as JSON from here on"),
        ("[01]", (1, 3), "',' must stand here"),
        ("[" * (DEPTH_MAX + 2), (1, 66), "nested deeper than 64 levels"),
    ],
)
def test_what_is_not_json_is_refused_where_it_stands(
    text: str, position: tuple[int, int], message: str
) -> None:
    with pytest.raises(JsonSyntaxError) as caught:
        parse_json(text)

    assert caught.value.message == message
    assert caught.value.position == Position(*position)


@given(st.text(alphabet='{}[]",:0123456789.eE-+truefalsn \n\\u', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is accepted is what the standard library reads, duplicates aside."""
    try:
        got = parse_json(text).value
    except JsonSyntaxError:
        return
    assert got == json.loads(text, parse_float=Decimal)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "(file)"),
        (("a",), "a"),
        (("tiers", 1, "limits"), "tiers[1].limits"),
        (("features", "a b"), 'features["a b"]'),
        ((0, "a"), "[0].a"),
    ],
)
def test_paths_are_written_as_people_write_them(path: JsonPath, text: str) -> None:
    assert path_text(path) == text
