"""Members of JSON bodies that decide what a request costs or which run it is.

Such a member must be one that every reader of JSON finds: RFC 8259 4 leaves open which of two
members of one name counts, and RFC 8259 6 how exact a number is. So a name on the way to a member
that stands twice makes it unreadable, and a number is read from its text and not from a float.

Most bodies are read once, by orjson, which keeps the last of two members. A search of the text for
the names tells whether there can be a second one; only then it is read by the standard library.
Source: RFC 6901 (JSON Pointer), RFC 7493 2.3 (I-JSON); docs/semantics.md#what-a-request-costs.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.errors import Refusal, RefusalCode
from gateway.http.usage import UnreadableValue
from gateway.rules.units import micro_from_text

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
"""Of an item of an array, RFC 6901 4."""
_NO_ESCAPED_NAME: Final = re.compile(
    rb'(?:[^"]++|"[^"\\]*+"|"[^"\\]*+(?:\\.[^"\\]*+)++"(?![ \t\r\n]*+:))*+', re.DOTALL
)
"""Takes the whole of a valid text if no name of a member is written with an escape."""
_NUMBER_AFTER_NAME: Final = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+(-?[0-9][-+.0-9eE]*+)")

_PLAIN_CODINGS: Final = frozenset({b"", b"identity"})
_SHOWN_MAX: Final = 40
_CHARSET: Final = re.compile(rb";[ \t]*charset[ \t]*=[ \t]*\"?([!-!#-:<-~]+)", re.IGNORECASE)
_FORM: Final = b"application/x-www-form-urlencoded"
_UTF8: Final = frozenset({"utf-8", "utf8"})
_ASCII_WITHIN: Final = frozenset(
    {"us-ascii", "ascii", "iso-8859-1", "latin1", "iso-8859-15", "windows-1252"}
)
"""Charsets that some clients declare by default."""


@dataclass(frozen=True, slots=True)
class NumberText:
    """A number with a fraction or an exponent, or of more than 64 bits, as it was written."""

    text: str


class _Repeated:
    """An object in which names stand more than once; a body may hold a great many of them."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        self._pairs = pairs

    def members(self, token: str) -> dict[str, object]:
        """Return the member of this name, if there is one.

        Raises:
            UnreadableValue: there are several.
        """
        found = [value for name, value in self._pairs if name == token]
        if len(found) > 1:
            raise UnreadableValue(f"the member {token!r} stands more than once")
        return {token: found[0]} if found else {}


def refuse_coded(codings: Sequence[bytes]) -> None:
    """Refuse a body that is compressed or otherwise coded: only what it says plainly is read.

    Args:
        codings: Values of ``Content-Encoding``.

    Raises:
        Refusal: one of them is not ``identity`` (RFC 9110 8.4, 15.5.16).
    """
    for coding in b",".join(codings).lower().split(b","):
        name = coding.strip(b" \t")
        if name not in _PLAIN_CODINGS:
            shown = name.decode("ascii", "replace")[:_SHOWN_MAX]
            raise Refusal(
                RefusalCode.CONTENT_CODING_UNSUPPORTED,
                detail=f"The content coding {shown} is not read here: send the body without one.",
            )


def require_charset(types: Sequence[bytes], raw: bytes) -> None:
    """Refuse a body that is declared to be in a charset in which it may mean something else.

    Args:
        types: Values of ``Content-Type``.
        raw: The body.

    Raises:
        UnreadableValue: JSON is UTF-8 (RFC 8259 8.1); ASCII is the same in what is let pass.
    """
    for declared in types:
        for match in _CHARSET.finditer(declared):
            charset = match[1].decode("ascii").lower()
            if charset not in _UTF8 and not (charset in _ASCII_WITHIN and raw.isascii()):
                raise UnreadableValue(
                    f"the charset {charset[:_SHOWN_MAX]} is declared, but JSON is UTF-8"
                )


def refuse_forms(types: Sequence[bytes], raw: bytes) -> None:
    """Refuse a body that is JSON, but declared as a form and one of other members as well.

    Some clients declare a form by default, and many services take both and go by what is declared.

    Args:
        types: Values of ``Content-Type``.
        raw: The body; without ``=`` a form gives no member a value (WHATWG URL 5.1).

    Raises:
        UnreadableValue: a reader of forms may find other values in it.
    """
    if b"=" not in raw:
        return
    for declared in types:
        if _FORM in declared.lower():
            raise UnreadableValue("the body is declared as a form, but JSON is read from it")


def read_json(types: Sequence[bytes], raw: bytes) -> "JsonBody":
    """Return the body of a request, if what is declared of it leaves one reading only.

    Args:
        types: Values of ``Content-Type``.
        raw: The whole body.

    Raises:
        UnreadableValue: it is not JSON in UTF-8, or may be taken for something else.
    """
    require_charset(types, raw)
    refuse_forms(types, raw)
    return JsonBody(raw)


class JsonBody:
    """A body that was parsed.

    Args:
        raw: The whole body.

    Raises:
        UnreadableValue: it is not JSON in UTF-8.
    """

    __slots__ = ("_document", "_raw")

    def __init__(self, raw: bytes) -> None:
        try:
            self._document: object = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise UnreadableValue("the body is not valid JSON") from error
        self._raw = raw

    def at(self, pointer: tuple[str, ...]) -> object | None:
        """Return the member that a JSON Pointer's tokens name, None if there is none.

        A float is never returned, but ``NumberText`` in its place.

        Raises:
            UnreadableValue: a name on the way stands more than once in its object.
        """
        found = _at(self._document, pointer)
        names = [b'"%b"' % token.encode() for token in pointer]
        if any(self._raw.count(name) > 1 for name in names) or (
            names and b"\\" in self._raw and not _NO_ESCAPED_NAME.fullmatch(self._raw)
        ):
            return self._looked_at_closely(pointer, found)
        if not isinstance(found, float):
            return found
        if not names or _INDEX.fullmatch(pointer[-1]):
            return self._looked_at_closely(pointer, found)
        # The name stands once in the whole text, so that the member follows it.
        at = self._raw.find(names[-1]) + len(names[-1])
        number = _NUMBER_AFTER_NAME.match(self._raw, at)
        if number is None:  # a name like "," whose quotes may be those of its neighbours
            return self._looked_at_closely(pointer, found)
        return NumberText(number[1].decode("ascii"))

    def _looked_at_closely(self, pointer: tuple[str, ...], found: object | None) -> object | None:
        """Return the same as ``at`` from a reader that keeps repeated names and numbers' texts."""
        try:
            document = json.loads(self._raw, object_pairs_hook=_object, parse_float=str)
        except RecursionError as error:
            raise UnreadableValue("the body is nested too deeply") from error
        written = _at(document, pointer)
        # Of the longest integer that orjson takes for a float the text can be made again.
        return NumberText(str(written)) if isinstance(found, float) else found


def _object(pairs: list[tuple[str, object]]) -> object:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _Repeated(pairs)


def _at(document: object, pointer: tuple[str, ...]) -> object | None:
    found = document
    for token in pointer:
        if isinstance(found, _Repeated):
            found = found.members(token)
        if isinstance(found, dict):
            if token not in found:
                return None
            found = found[token]
        elif isinstance(found, list) and _INDEX.fullmatch(token) and int(token) < len(found):
            found = found[int(token)]
        else:
            return None
    return found


def quantity_of(member: object) -> int:
    """Return the micro-units that a member means, parts of one rounded up.

    Raises:
        UnreadableValue: not a non-negative number within bounds.
    """
    if isinstance(member, NumberText):
        text = member.text
    elif isinstance(member, int) and not isinstance(member, bool):
        text = str(member)
    else:
        raise UnreadableValue("expected a non-negative number")
    try:
        return micro_from_text(text)
    except ValueError as error:
        raise UnreadableValue(str(error)) from error
