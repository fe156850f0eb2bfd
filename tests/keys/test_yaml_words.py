"""What a YAML text does wrong is told in our own words, with line and column."""

import pytest
import yaml

from gateway.keys.yaml_words import in_words, place_and_words

MESSAGES = """\
block sequence entries are not allowed in this context
control characters are not allowed
could not find expected ':'
could not find expected directive name
did not find URI escaped octet
did not find expected '!'
did not find expected ',' or ']'
did not find expected ',' or '}'
did not find expected '-' indicator
did not find expected <document start>
did not find expected alphabetic or numeric character
did not find expected comment or line break
did not find expected digit or '.' character
did not find expected hex digits
did not find expected key
did not find expected node content
did not find expected tag URI
did not find expected version number
did not find expected whitespace
did not find expected whitespace or line break
did not find the expected '>'
but found another document
found a tab character that violates indentation
found a tab character where an indentation space is expected
found an indentation indicator equal to 0
found character that cannot start any token
found duplicate %TAG directive
found duplicate anchor; first occurrence
found extremely long version number
found incompatible YAML document
found invalid Unicode character escape code
found undefined alias
found undefined tag handle
found unexpected ':'
found unexpected document indicator
found unexpected end of stream
found unexpected non-alphabetical character
found unknown directive name
found unknown escape character
mapping keys are not allowed in this context
mapping values are not allowed in this context
could not determine a constructor for the tag
something that nobody thought of
""".splitlines()
"""What libyaml 0.2 and PyYAML say."""


@pytest.mark.parametrize("message", MESSAGES)
def test_no_message_of_the_parser_comes_through(message: str) -> None:
    told = in_words(message)

    assert told
    assert message not in told
    for words in ("found ", "did not find", "could not", "not allowed", "token", "determine"):
        assert words not in told


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: [1, 2\nb: 3\n", (2, 2), "a comma or the closing ] is missing"),
        ("a: {b: 1\nc: 3\n", (2, 2), "a comma or the closing } is missing"),
        ("a:\n\tb: 1\n", (2, 1), "a tab"),
        ("a: b: c\n", (1, 5), "a colon where none may stand"),
        ("a: *b\n", (1, 4), "of which no anchor (&name) stands before it"),
        ('a: "\\q"\n', (1, 5), "an escape"),
        ('a: "b\n', (2, 1), "a closing quote is missing"),
        ("a: 1\n b: 2\n", (2, 3), "a colon where none may stand"),
        ("a: 1\n---\nb: 1\n", (2, 1), "a second document"),
        ("a: @b\n", (1, 4), "put the text in quotes"),
        ("a: b\nc\n", (3, 1), "a colon is missing behind a key"),
        ("a: \x07\n", (1, 4), "U+0007 has no place in it"),
    ],
)
def test_the_place_is_told(text: str, place: tuple[int, int], words: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.compose(text, yaml.CSafeLoader)

    *found, told = place_and_words(text, caught.value)
    assert words in told
    assert tuple(found) == place
