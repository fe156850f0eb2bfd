"""What a YAML text does wrong, in the operator's words: the parser's own are for its makers.

Source: the messages of libyaml 0.2 (scanner.c, parser.c, composer) and of PyYAML 6.
"""

from typing import Final

import yaml

_OTHERWISE: Final = "it can't be read from here on: look at quotes, colons and the indentation"
_COLON: Final = (
    "a colon where none may stand: quotes are missing around a text with ': ' in it, or the line "
    "is not indented rightly"
)
_START: Final = (
    "a tab, or another character that no value begins with: indent with spaces, put the text in "
    "quotes"
)
_WORDS: Final = (
    ("expected ',' or ']'", "a comma or the closing ] is missing"),
    ("expected ',' or '}'", "a comma or the closing } is missing"),
    ("expected node content", "a value is missing"),
    ("expected key", "this line is not indented as its neighbours are, or its key has no colon"),
    ("expected '-' indicator", "an item of a list has to begin with - here"),
    ("expected <block end>", "this line is not indented as its neighbours are"),
    ("expected '<document start>'", "something follows the end of the document"),
    ("expected <document start>", "something follows the end of the document"),
    ("another document", "a second document begins here: one document in a file"),
    ("find expected ':'", "a colon is missing behind a key, or the text needs quotes"),
    ("mapping values are not allowed", _COLON),
    ("mapping keys are not allowed", "a key can't stand here"),
    ("block sequence entries are not allowed", "a - can't stand here"),
    ("block collections", "a - or a key can't stand here"),
    ("start any token", _START),
    ("tab", "a tab can't indent: use spaces"),
    ("undefined alias", "an alias (*name) of which no anchor (&name) stands before it"),
    ("duplicate anchor", "an anchor (&name) that stands before with the same name"),
    ("unknown escape character", "an escape (\\x) that YAML does not know: use single quotes"),
    ("expected hex", "an escape (\\x) without its digits: use single quotes"),
    ("invalid Unicode character", "an escape that names no character"),
    ("unexpected end of stream", "a closing quote is missing"),
    ("unexpected document indicator", "a closing quote is missing before ---"),
    ("indentation indicator equal to 0", "an indentation of 0 can't be asked for"),
    ("expected comment or line break", "something follows | or > in the same line"),
    ("undefined tag handle", "a tag (!name) can't be used here"),
    ("directive", "directives (%) can't be used here"),
    ("version number", "directives (%) can't be used here"),
    ("tag", "a tag (!name) can't be used here"),
    ("URI escape", "a tag (!name) can't be used here"),
    ("anchor", "an anchor (&name) has a name of letters, digits, - and _"),
    ("alias", "an alias (*name) has a name of letters, digits, - and _"),
)  # fmt: skip
"""By a part of the parser's message, the most telling first."""


def place_and_words(text: str, error: yaml.YAMLError) -> tuple[int, int, str]:
    """Return line and column, from 1, of a mistake in a YAML text, and what it is."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        return line, column, in_words(str(error.problem or error.context or ""))
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found is None:
        return 1, 1, _OTHERWISE
    # error.position counts bytes in one loader, characters in the other
    before = text[: found.start()]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return line, column, f"the character U+{ord(found[0]):04X} has no place in it"


def in_words(problem: str) -> str:
    """Return what a parser's message means."""
    return next((words for part, words in _WORDS if part in problem), _OTHERWISE)
