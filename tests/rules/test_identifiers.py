"""One grammar for names and one for ids, and words for what does not fit."""

import pytest

from gateway.rules.identifiers import (
    is_id,
    is_name,
    is_new_id,
    one_of,
    suggestion,
    wrong_with_id,
    wrong_with_name,
)


@pytest.mark.parametrize("text", ["STARTER", "a", "9", "llm_tokens", "v1.2-x", "a" * 64])
def test_names(text: str) -> None:
    assert is_name(text)
    assert is_new_id(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("Pro Plus", "holds a space"),
        (" pro", "holds a space"),
        ("pro\n", "holds the control character U+000A"),
        ("pro\x7f", "holds the control character U+007F"),
        ("{pro}", "holds '{'"),
        ("pro}", "holds '}'"),
        ("a,b", "holds ','"),
        ("a:b", "holds ':'"),
        ("a/b", "holds '/'"),
        ('a"b', "holds '\"'"),
        ("\u0410CME", "holds U+0410, which is not ASCII"),  # a Cyrillic A
        ("pro\u200b", "holds U+200B, which is not ASCII"),
        ("\uff11", "holds U+FF11, which is not ASCII"),
        ("-pro", "begins with '-'"),
        (".pro", "begins with '.'"),
        ("a" * 65, "has 65 characters"),
    ],
)
def test_what_is_no_name_is_told_in_words(text: str, words: str) -> None:
    assert not is_name(text)
    assert wrong_with_name(text) == words


@pytest.mark.parametrize("text", ["org:team@acme.com", "a" * 128, "key_9xAb"])
def test_ids(text: str) -> None:
    assert is_id(text)
    assert is_new_id(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("acme}", "holds '}'"),
        ("{acme", "holds '{'"),
        ("acme corp", "holds a space"),
        ("a" * 129, "has 129 characters"),
        ("@acme", "begins with '@'"),
        ("acme\r", "holds the control character U+000D"),
        ("acm\u0435", "holds U+0435, which is not ASCII"),
    ],
)
def test_what_is_no_id_is_told_in_words(text: str, words: str) -> None:
    assert not is_id(text)
    assert wrong_with_id(text) == words


def test_a_slash_is_read_where_it_exists_and_taken_for_nothing_new() -> None:
    assert is_id("org/team")
    assert not is_new_id("org/team")
    assert wrong_with_id("org/team") == "holds '/', which separates a namespace from an id"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("STARTR", "did you mean STARTER? one of GROWTH, STARTER"),
        ("starter", "did you mean STARTER? one of GROWTH, STARTER"),
        ("zzz", "one of GROWTH, STARTER"),
    ],
)
def test_what_was_meant(text: str, told: str) -> None:
    assert suggestion(text, {"STARTER", "GROWTH"}) == told


def test_names_are_told_in_order_and_not_without_end() -> None:
    assert one_of(["b", "a"]) == "one of a, b"
    assert one_of([str(n) for n in range(10, 99)]).count(",") == 12
    assert one_of([f"n{number:02}" for number in range(13)]).endswith("n11, ...")
    assert one_of([]) == suggestion("x", []) == ""
