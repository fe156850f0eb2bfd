"""Names and ids: one grammar for each, whichever file, command, variable or table they stand in.

A *name* is what operators give to a part of the configuration: plans, features, meters, limits,
policies, routes, upstreams. An *id* is what a directory gives to a workspace or a key. Both are
plain ASCII without spaces, quotes, commas and braces: they stand unescaped in counter keys (where
``{id}`` is the hash tag), header fields, metric labels, CSV cells and shell commands.
Source: docs/semantics.md, Names.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Final

NAME_LENGTH_MAX: Final = 64
ID_LENGTH_MAX: Final = 128

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}$"
"""Ids that exist may hold ``/``; new ones may not, see ``NEW_ID_WORDS``."""
NAME_WORDS: Final = "1 to 64 letters, digits and . _ -, the first a letter or digit"
ID_WORDS: Final = "1 to 128 letters, digits and . _ : @ / -, the first a letter or digit"
NEW_ID_WORDS: Final = "1 to 128 letters, digits and . _ : @ -, the first a letter or digit"

_NAME: Final = re.compile(NAME_PATTERN.rstrip("$"), re.ASCII)
_ID: Final = re.compile(ID_PATTERN.rstrip("$"), re.ASCII)
_NAME_CHARACTER: Final = re.compile(r"[A-Za-z0-9._-]", re.ASCII)
_ID_CHARACTER: Final = re.compile(r"[A-Za-z0-9._:@/-]", re.ASCII)
_SHOWN_MAX: Final = 12
_DELETE: Final = 0x7F


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a plan, feature, meter, limit, route or upstream."""
    return _NAME.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Return whether a text can be the id of a workspace or a key that exists."""
    return _ID.fullmatch(text) is not None


def is_new_id(text: str) -> bool:
    """Return whether a text can be the id of a new workspace: ``/`` would look like a namespace."""
    return is_id(text) and "/" not in text


def wrong_with_name(text: str) -> str:
    """Return in a few words why a text is no name."""
    return _wrong(text, _NAME_CHARACTER, NAME_LENGTH_MAX)


def wrong_with_id(text: str) -> str:
    """Return in a few words why a text is no id."""
    if "/" in text and is_id(text):
        return "holds '/', which separates a namespace from an id"
    return _wrong(text, _ID_CHARACTER, ID_LENGTH_MAX)


def _wrong(text: str, allowed: re.Pattern[str], length_max: int) -> str:
    if not text:
        return "is empty"
    for character in text:
        if not allowed.fullmatch(character):
            return f"holds {_described(character)}"
    if len(text) > length_max:
        return f"has {len(text)} characters"
    return f"begins with {text[0]!r}"


def _described(character: str) -> str:
    code = ord(character)
    if character == " ":
        return "a space"
    if code < ord(" ") or code == _DELETE:
        return f"the control character U+{code:04X}"
    if code > _DELETE:
        return f"U+{code:04X}, which is not ASCII"
    return repr(character)


def one_of(names: Collection[str]) -> str:
    """Return names as a fault lists them: the first few, in the order that a mapping has."""
    listed = _listed(names)
    more = ", ..." if len(listed) > _SHOWN_MAX else ""
    return f"one of {', '.join(listed[:_SHOWN_MAX])}{more}" if listed else ""


def suggestion(text: str, known: Collection[str]) -> str:
    """Return what was probably meant, or else the names that there are."""
    listed = _listed(known)
    folded = {name.casefold(): name for name in listed}
    close = folded.get(text.casefold())
    if close is None:
        found = get_close_matches(text.casefold(), folded, n=1)
        close = folded[found[0]] if found else None
    if close is None:
        return one_of(known)
    return f"did you mean {close}?" + (f" {one_of(known)}" if len(listed) > 1 else "")


def _listed(names: Collection[str]) -> list[str]:
    return list(names) if isinstance(names, Mapping) else sorted(names)
