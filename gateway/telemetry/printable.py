r"""Text that a terminal shows and does not obey, in whatever encoding it has.

Names, paths and errors of databases reach operators' terminals. A control character in one of them
could rewrite the screen, so it is written as Python writes it in a literal: ``\x1b``.
Source: ECMA-48 (control functions); Unicode UAX #9 (the characters that reorder a line).
"""

import json
import re
from typing import Final

_REORDERING: Final = "\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"
_OBEYED: Final = re.compile(rf"[\x00-\x09\x0b-\x1f\x7f-\x9f{_REORDERING}]")
_OBEYED_OR_LINE_END: Final = re.compile(rf"[\x00-\x1f\x7f-\x9f{_REORDERING}]")


def printable(text: str) -> str:
    """Return a text without control characters but line ends."""
    return text if text.isprintable() else _OBEYED.sub(_escaped, text)


def one_line(text: str) -> str:
    """Return a text without control characters; a line end is one of them."""
    return text if text.isprintable() else _OBEYED_OR_LINE_END.sub(_escaped, text)


def json_text(value: object, encoding: str, *, indent: int | None = None) -> str:
    """Return a value as JSON whose every character an encoding has and a terminal leaves alone.

    Args:
        value: What ``json`` can write.
        encoding: Of the stream that gets it.
        indent: See ``json.dumps``.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if not has_characters(encoding, text):
        return json.dumps(value, indent=indent)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def has_characters(encoding: str, text: str) -> bool:
    """Return whether an encoding has every character of a text."""
    try:
        text.encode(encoding)
    except UnicodeError:
        return False
    return True


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
