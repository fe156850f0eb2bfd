"""What is wrong with a pricing file, in the operator's words and with its place.

Collects faults of three origins: the JSON Schema, the typed models, and the checks that join
several members (``pricing_checks``). A place is reported once, by the first that finds it.
"""

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from jsonschema.exceptions import ValidationError as SchemaError
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.json_positions import JsonDocument, JsonPath, path_text
from gateway.config.pricing_values import PATTERN_WORDS
from gateway.config.wording import in_words
from gateway.errors import Fault

LATER = {
    "kind": frozenset({"concurrency", "inventory", "time_access"}),
    "window": frozenset({"billing_cycle", "rolling_7d", "rolling_30d"}),
    "action": frozenset({"grace", "overage"}),
}
"""Members of ``limits_extra`` that the design names and this version does not count yet."""

_SHOWN_MAX = 60
_CHOICES_MAX = 12
_TYPES = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


class Faults:
    """The faults of one file."""

    def __init__(self, file: str, document: JsonDocument) -> None:
        self._file = file
        self._document = document
        self._found: dict[JsonPath, Fault] = {}

    def add(
        self, path: JsonPath, message: str, expected: str = "", *, at_key: bool = False
    ) -> None:
        """Report a fault, unless its very place has one already.

        Args:
            path: The member or item.
            message: What is wrong with it.
            expected: What would be right.
            at_key: Show its name instead of its value.
        """
        place = self._document.key_at(path) if at_key else self._document.value_at(path)
        self._found.setdefault(
            path,
            Fault(self._file, place.line, place.column, path_text(path), message, expected),
        )

    def touch(self, path: JsonPath) -> bool:
        """Return whether something at, above or below a path is faulty."""
        return any(
            found[: len(path)] == path or path[: len(found)] == found for found in self._found
        )

    def sorted(self) -> list[Fault]:
        """Return the faults in the order of the file."""
        return sorted(
            self._found.values(), key=lambda fault: (fault.line, fault.column, fault.path)
        )

    def add_schema_errors(self, errors: Iterable[SchemaError]) -> None:
        """Report what the JSON Schema refuses."""
        for error in errors:
            self._add_schema_error(error)

    def add_model_errors(self, error: ValidationError) -> None:
        """Report what the models refuse beyond the schema, such as a zone that does not exist."""
        for detail in error.errors(include_url=False):
            path = tuple(step for step in detail["loc"] if step != "[key]")
            self.add(path, *_model_words(detail), at_key=detail["loc"][-1:] == ("[key]",))

    def _add_schema_error(self, error: SchemaError) -> None:
        path = tuple(error.absolute_path)
        wanted: Any = error.validator_value
        instance: Any = error.instance
        match error.validator:
            case "required":
                for name in (name for name in wanted if name not in instance):
                    self.add((*path, name), "is missing", _described(error.schema, name))
            case "additionalProperties":
                for name in _unknown_keys(error):
                    self.add((*path, name), "unknown key", _known_keys(error, name), at_key=True)
            case "enum" | "const":
                choices = [wanted] if error.validator == "const" else wanted
                wish = str(dict(error.schema).get("errorMessage", ""))  # type: ignore[arg-type]
                self._add_wrong_choice(path, instance, choices, wish)
            case "pattern" if _is_later(path, instance):
                self._add_wrong_choice(path, instance, [])
            case _:
                shown = (
                    f"{_shown(error.instance)} {_PROBLEMS.get(str(error.validator), 'is wrong')}"
                )
                self.add(path, shown, _expected(error))

    def _add_wrong_choice(
        self, path: JsonPath, value: object, choices: list[Any], wish: str = ""
    ) -> None:
        if _is_later(path, value):
            self.add(path, f"{_shown(value)} is not supported by this version")
            return
        wish = wish or f"allowed: {' or '.join(_shown(choice) for choice in choices)}"
        allowed = f"{_close(value, choices)}{wish}"
        self.add(path, f"{_shown(value)} is not known here", allowed)


_PROBLEMS = {
    "type": "has the wrong type",
    "minimum": "is too small",
    "maximum": "is too large",
    "minLength": "is too short",
    "maxLength": "is too long",
    "minItems": "has too few items",
    "uniqueItems": "says something twice",
    "pattern": "has the wrong form",
}


def _expected(error: SchemaError) -> str:
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            kinds = wanted if isinstance(wanted, list) else [wanted]
            return "expected " + " or ".join(_TYPES[kind] for kind in kinds)
        case "minimum" | "minLength" | "minItems":
            return f"at least {wanted}"
        case "maximum" | "maxLength":
            return f"at most {wanted}"
        case "pattern":
            return PATTERN_WORDS[wanted]
        case _:
            return ""


def _close(value: object, choices: list[Any]) -> str:
    texts = [choice for choice in choices if isinstance(choice, str)]
    if not isinstance(value, str) or len(texts) < 2:
        return ""
    by_folded = {text.casefold(): text for text in texts}
    found = get_close_matches(value.casefold(), by_folded, n=3 if _is_long(choices) else 1)
    meant = " or ".join(_shown(by_folded[text]) for text in found)
    return f"did you mean {meant}? " if found else ""


def _is_long(choices: list[Any]) -> bool:
    return len(choices) > _CHOICES_MAX


def _model_words(detail: ErrorDetails) -> tuple[str, str]:
    """Return a model's own words; what the schema knows too is told by the schema."""
    if detail["type"] == "string_pattern_mismatch":  # Python's own $ lets a line end follow
        return f"{_shown(detail['input'])} has the wrong form", ""
    return in_words(detail, PATTERN_WORDS)


def _is_later(path: JsonPath, value: object) -> bool:
    return "limits_extra" in path and value in LATER.get(str(path[-1]), frozenset())


def _unknown_keys(error: SchemaError) -> list[str]:
    schema: dict[str, Any] = dict(error.schema) if isinstance(error.schema, dict) else {}
    instance: Any = error.instance
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    return [
        name
        for name in instance
        if name not in known and not any(re.search(pattern, name) for pattern in patterns)
    ]


def _known_keys(error: SchemaError, name: str) -> str:
    schema: dict[str, Any] = dict(error.schema) if isinstance(error.schema, dict) else {}
    known = list(schema.get("properties", {}))
    if not known:
        (pattern,) = schema["patternProperties"]
        return f"a key is {PATTERN_WORDS[pattern]}"
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _described(schema: object, name: str) -> str:
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    return str(properties.get(name, {}).get("description", ""))


def _shown(value: object) -> str:
    text = (
        str(value)
        if isinstance(value, Decimal)
        else json.dumps(value, default=str, ensure_ascii=False)
    )
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 3]}..."
