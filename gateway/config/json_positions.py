"""JSON text to values, with the line and column of every member and item.

Containers are walked here, because the standard library forgets where they stood; strings, numbers
and literals are read by it. Stricter than it: ``NaN``, a lone surrogate, more than 64 levels are
errors, keys given twice are told. Numbers with a point or an exponent become ``Decimal``, exactly.
Source: RFC 8259; RFC 7493 2.3 (duplicate names).
"""

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NoReturn

from gateway.config.quantities import plain_number

JsonValue = None | bool | int | Decimal | str | list["JsonValue"] | dict[str, "JsonValue"]
JsonPath = tuple[str | int, ...]

DEPTH_MAX = 64
"""No configuration nests so deep; the walk is recursive and must not exhaust the stack."""

_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r'["\-0-9tfn]')
_SURROGATE = re.compile("[\ud800-\udfff]")

_NO_JSON: Final = "can't be read as JSON from here on"
_WORDS: Final = (
    ("Invalid control character", "a tab, a line break or the like in a text: write \\t or \\n"),
    ("Unterminated string", "the quote that ends this text is missing"),
    ("Invalid \\u", "\\u needs four hexadecimal digits behind it"),
    ("Invalid \\escape", "a backslash that begins no escape: write \\\\"),
)
"""By the beginning of the message of Python's json module."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where something begins: line and column counted from 1, in characters."""

    line: int
    column: int


class JsonSyntaxError(ValueError):
    """The text is not JSON."""

    def __init__(self, message: str, position: Position, path: JsonPath = ()) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.path = path


@dataclass(frozen=True, slots=True)
class JsonDocument:
    """A parsed text.

    Attributes:
        value: The whole value.
        values: Where each value begins, by path; the root is ``()``.
        keys: Where each member's name begins, by the member's path.
        repeated: Members whose name stood in the object before, with the place of the first; the
            last one counts in ``value``.
    """

    value: JsonValue
    values: Mapping[JsonPath, Position]
    keys: Mapping[JsonPath, Position]
    repeated: Mapping[JsonPath, Position]

    def value_at(self, path: JsonPath) -> Position:
        """Return where the value at ``path`` begins, or its nearest ancestor that exists."""
        return self._nearest(self.values, path)

    def key_at(self, path: JsonPath) -> Position:
        """Return where the member's name at ``path`` begins; of an item, where the item begins."""
        return self.keys.get(path) or self._nearest(self.values, path)

    @staticmethod
    def _nearest(positions: Mapping[JsonPath, Position], path: JsonPath) -> Position:
        while path and path not in positions:
            path = path[:-1]
        return positions[path]


def _in_words(problem: str) -> str:
    """Return what a parser's message means."""
    return next((words for part, words in _WORDS if problem.startswith(part)), _NO_JSON)


def path_text(path: JsonPath) -> str:
    """Return a path as people write it: ``tiers[1].limits``; the root is ``(file)``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w$-]+", step, re.ASCII):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text or "(file)"


def parse_json(text: str) -> JsonDocument:
    """Return the value of a JSON text and where its parts stand.

    Raises:
        JsonSyntaxError: at the first place where the text is not JSON.
    """
    return _Reader(text).read()


class _Reader:
    """One walk over one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._values: dict[JsonPath, Position] = {}
        self._keys: dict[JsonPath, Position] = {}
        self._repeated: dict[JsonPath, Position] = {}
        self._scan = json.JSONDecoder(
            parse_float=_number, parse_constant=_refuse_constant
        ).raw_decode

    def read(self) -> JsonDocument:
        if self._text.startswith("\ufeff"):
            self._fail("begins with a byte order mark", 0)
        value, at = self._value(self._skip(0), ())
        at = self._skip(at)
        if at != len(self._text):
            self._fail("something follows the JSON value", at)
        return JsonDocument(value, self._values, self._keys, self._repeated)

    def _value(self, at: int, path: JsonPath) -> tuple[JsonValue, int]:
        if len(path) > DEPTH_MAX:
            self._fail(f"nested deeper than {DEPTH_MAX} levels", at, path)
        self._values[path] = self._position(at)
        match self._text[at : at + 1]:
            case "{":
                return self._object(at, path)
            case "[":
                return self._array(at, path)
            case _:
                return self._scalar(at, path)

    def _object(self, at: int, path: JsonPath) -> tuple[JsonValue, int]:
        members: dict[str, JsonValue] = {}
        at = self._skip(at + 1)
        if self._text.startswith("}", at):
            return members, at + 1
        while True:
            if not self._text.startswith('"', at):
                self._fail("a key in double quotes must stand here", at, path)
            name, after = self._scalar(at, path)
            assert isinstance(name, str)
            member = (*path, name)
            if name in members:
                self._repeated.setdefault(member, self._keys[member])
            self._keys[member] = self._position(at)
            at = self._expect(":", self._skip(after), member)
            members[name], at = self._value(self._skip(at), member)
            at = self._skip(at)
            if self._text.startswith("}", at):
                return members, at + 1
            at = self._skip(self._expect(",", at, path))

    def _array(self, at: int, path: JsonPath) -> tuple[JsonValue, int]:
        items: list[JsonValue] = []
        at = self._skip(at + 1)
        if self._text.startswith("]", at):
            return items, at + 1
        while True:
            item, at = self._value(at, (*path, len(items)))
            items.append(item)
            at = self._skip(at)
            if self._text.startswith("]", at):
                return items, at + 1
            at = self._skip(self._expect(",", at, path))

    def _scalar(self, at: int, path: JsonPath) -> tuple[JsonValue, int]:
        if not _SCALAR.match(self._text, at):
            self._fail("a JSON value must stand here", at, path)
        try:
            value, after = self._scan(self._text, at)
        except json.JSONDecodeError as error:
            raise JsonSyntaxError(_in_words(error.msg), self._position(error.pos), path) from error
        except (ValueError, ArithmeticError) as error:
            # -Infinity, an integer of thousands of digits, an exponent that no Decimal has
            message = "not a number that can be read"
            raise JsonSyntaxError(message, self._position(at), path) from error
        if isinstance(value, str) and _SURROGATE.search(value):
            self._fail("half of a surrogate pair is not a character", at, path)
        return value, after

    def _expect(self, character: str, at: int, path: JsonPath) -> int:
        if not self._text.startswith(character, at):
            self._fail(f"{character!r} must stand here", at, path)
        return at + 1

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def _position(self, at: int) -> Position:
        line = bisect_right(self._starts, at)
        return Position(line, at - self._starts[line - 1] + 1)

    def _fail(self, message: str, at: int, path: JsonPath = ()) -> NoReturn:
        raise JsonSyntaxError(message, self._position(at), path)


def _number(text: str) -> int | Decimal:
    """Return a number with a point or an exponent."""
    return plain_number(Decimal(text))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
