"""What a model refuses, in the operator's words: what was found and what would be right.

No sentence of the validating library reaches an operator: every kind of error is put into words
here, and an unforeseen kind gets words that are true of all.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from pydantic_core import ErrorDetails

from gateway.rules.identifiers import NAME_PATTERN, one_of, suggestion, wrong_with_name

_SHOWN_MAX: Final = 40
_CHOICE: Final = re.compile(r"'([^']*)'|(-?\d+)")
_WRONG_KINDS: Final = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "string_type": "a text",
    "string_unicode": "a text",
    "string_sub_type": "a text",
    "invalid_key": "a text as key",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "none_required": "nothing",
    "null_type": "nothing",
}
_BOUNDS: Final = {
    "greater_than_equal": ("too small", "at least", "ge"),
    "greater_than": ("too small", "more than", "gt"),
    "less_than_equal": ("too large", "at most", "le"),
    "less_than": ("too large", "less than", "lt"),
}
_LENGTHS: Final = {
    "string_too_short": ("too short", "at least", "min_length", "characters"),
    "string_too_long": ("too long", "at most", "max_length", "characters"),
    "too_short": ("too few items", "at least", "min_length", "items"),
    "too_long": ("too many items", "at most", "max_length", "items"),
}
_EXPECTED: Final = "expected "
"""Begins the message of a validator that says what would be right."""
OTHERWISE: Final = "can't stand here"


def in_words(
    problem: ErrorDetails,
    forms: Mapping[str, str],
    known: Collection[str] = (),
    *,
    is_hidden: bool = False,
) -> tuple[str, str]:
    """Return what is wrong with a value, and what would be right.

    Args:
        problem: Of a model.
        forms: What each pattern means.
        known: The keys that may stand where an unknown one stands.
        is_hidden: The value came from the environment: never repeat it.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    value: Any = problem.get("input")
    if kind == "extra_forbidden":
        return "this key is not known here", suggestion(str(problem["loc"][-1]), known)
    if kind == "missing":
        return f"{problem['loc'][-1]} is missing", ""
    if kind == "string_pattern_mismatch":
        return _pattern(str(context["pattern"]), value, forms)
    if kind == "literal_error":
        return _choice(value, str(context["expected"]), is_hidden=is_hidden)
    if kind == "value_error":
        return _own(str(context["error"]), value, is_hidden=is_hidden)
    if kind in _BOUNDS:
        size, side, name = _BOUNDS[kind]
        return f"{shown(value, is_hidden=is_hidden)} is {size}", f"{side} {context[name]}"
    if kind in _LENGTHS:
        return _length(kind, value, context)
    found = "given, but empty" if value is None else f"{_kind_of(value)} {OTHERWISE}"
    return found, _WRONG_KINDS.get(kind, "")


def both(first: tuple[str, str], second: tuple[str, str]) -> tuple[str, str]:
    """Return what is wrong with a value that fits no branch of a choice."""
    if first[1] == second[1] or not second[1]:
        return first
    wanted = f"{first[1]}; or {second[1]}" if first[1] else second[1]
    telling = [message for message, _ in (first, second) if message.endswith(OTHERWISE)]
    return (telling or [f"this {OTHERWISE}"])[0], wanted


def or_a_mapping(words: tuple[str, str], keys: Collection[str]) -> tuple[str, str]:
    """Return what is wrong with a value where a mapping of these keys may stand as well."""
    message, expected = words
    if not keys or not message.endswith(OTHERWISE) or expected.endswith("?"):
        return words
    return message, f"{expected}; or a mapping with {', '.join(sorted(keys))}"


def is_of_a_scalar(problem: ErrorDetails) -> bool:
    """Return whether a validator speaks that expected a text or a number, not a mapping."""
    if problem["type"] != "value_error":
        return False
    return str(problem.get("ctx", {}).get("error", "")).startswith(_EXPECTED)


def keys_at(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> set[str]:
    """Return the keys that a JSON Schema knows in the object at a path."""
    nodes = list(_branches(schema, schema))
    for step in path:
        nodes = [
            branch
            for node in nodes
            for child in _children(node, step)
            for branch in _branches(schema, child)
        ]
    return {name for node in nodes for name in node.get("properties", ())}


def shown(value: object, *, is_hidden: bool = False) -> str:
    """Return a value as a fault repeats it: short, and no secret."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | Decimal):
        text = str(value)
        return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
    if isinstance(value, str) and not is_hidden and value.isprintable():
        return repr(value) if len(value) <= _SHOWN_MAX else f"{value[:_SHOWN_MAX]!r}..."
    return _kind_of(value)


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return "this"


def _pattern(pattern: str, value: object, forms: Mapping[str, str]) -> tuple[str, str]:
    if pattern == NAME_PATTERN and isinstance(value, str):
        return f"not a name: it {wrong_with_name(value)}", forms[pattern]
    return "not the right form", forms[pattern]


def _choice(value: object, expected: str, *, is_hidden: bool) -> tuple[str, str]:
    choices = [text or number for text, number in _CHOICE.findall(expected)]
    message = f"{shown(value, is_hidden=is_hidden)} {OTHERWISE}"
    if len(choices) == 1:
        return message, choices[0]
    known = dict.fromkeys(choices)  # in the order in which the reference lists them
    return message, suggestion(value, known) if isinstance(value, str) else one_of(known)


def _length(kind: str, value: object, context: Mapping[str, Any]) -> tuple[str, str]:
    size, side, name, what = _LENGTHS[kind]
    if not value:
        return "given, but empty", "at least one" if what == "items" else "a text"
    return size, f"{side} {context[name]} {what}"


def _own(message: str, value: object, *, is_hidden: bool) -> tuple[str, str]:
    """Return a validator's own words, which say what was expected or what is wrong."""
    if message.startswith(_EXPECTED):
        found = f"{shown(value, is_hidden=is_hidden)} {OTHERWISE}"
        return found, message.removeprefix(_EXPECTED)
    return message, ""


def _branches(root: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    target = node.get("$ref")
    if isinstance(target, str):
        yield from _branches(root, root["$defs"][target.rpartition("/")[2]])
    yield node
    for choice in ("anyOf", "oneOf", "allOf"):
        for branch in node.get(choice, ()):
            yield from _branches(root, branch)


def _children(node: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    if isinstance(step, int):
        found = [node.get("items")]
    elif step in node.get("properties", {}):
        found = [node["properties"][step]]
    else:
        found = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    yield from (child for child in found if isinstance(child, dict))
