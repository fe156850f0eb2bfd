"""What a loader takes and what the published schema takes are the same, wherever a schema can tell.

Every member of a document with all options is replaced by values of all kinds, taken out, doubled
and given neighbours. ``LOADER_ONLY`` lists what no JSON Schema tells: everything else must agree.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from gateway.config import route_schema
from gateway.config.json_positions import parse_json
from gateway.config.model import Model
from gateway.config.pricing_models import PricingSection
from gateway.config.pricing_schema import schema_bytes
from gateway.config.routes import RouteFile
from gateway.config.yaml_positions import parse
from gateway.errors import ConfigError
from gateway.keys import schema as keys_schema
from gateway.keys.document import parse_document

Path = tuple[str | int, ...]
LOADER_ONLY = (
    "names a day or a time that does not exist",  # a pattern counts no days
    "is not a date-time that exists",
    "more than six decimals",  # multipleOf is inexact where floats are
    "expected a size of at least",  # of a size with its unit
    "expected a size of at most",
    "is given twice",  # between two members
    "this key is given twice",
    "a character that",  # of a pattern that is checked with all others
    "not a network",  # an address is no regular language worth publishing
    "missing in the entry",  # follows from one of these
    "${ begins no variable here",  # filled in before
)
VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, 2, -1, 1.0, 0.5, 1.5, -0.5, 128, 599, 600, 10**9, 9_000_000_000,
    9_000_000_001, 10**13, 10**18, 10**18 + 1, "", " ", "0", "1", "1.0", "true", "null", "none",
    "x", "a b", "a{b}", "}", "\u00e9", "\u0410", "a\tb", "${", "-x", "a" * 65, "a" * 129, "10s",
    "0s", "0.0005s", "1.5s", "1234567890s", "10", "250ms", "1w", "64KiB", "10MB", "1kib",
    "999999999999999MB", "/", "/a", "a/b", "GET", "get", "bearer", "header:X", "http://h:1",
    "https://u:p@h", "unix:/a", "2026-01-01T00:00:00Z", "2026-01-01 00:00Z", "2026-01-01",
    "2026-01-01T00:00:00", "2026-02-30T00:00:00Z", "UTC", "Asia/Seoul", "asia/seoul", "localtime",
    "Factory", "posixrules", "right/UTC", "KRW", "XXX", "seconds(60)", "seconds(2678401)",
    "application/json", "0" * 64, "0" * 63, "10.0.0.0/8", [], [[]], ["x"], ["a b"], [1], [None],
    ["GET"], ["/a"], ["http://h:1"], {}, {"x": 1}, {"a b": {}}, {"x": {}}, {"x": True}, {"": 1},
)  # fmt: skip
EXAMPLES = (
    "x", "GET", "/a", "bearer", "http://h:1", "api.example", "X-Name", "10s", "10MB",
    "2026-01-01T00:00:00Z", "0" * 64, "day", "application/json", "https://h/x",
    "2026-02-14.v0.2.1", "http_404",
)  # fmt: skip


def sample(schema: dict[str, Any], node: dict[str, Any], *, is_whole: bool = True) -> object:
    """Return a value with every option of an object itself; those below have what they must."""
    if "$ref" in node:
        return sample(schema, schema["$defs"][node["$ref"].rpartition("/")[2]], is_whole=False)
    for choice in (node.get("anyOf"), node.get("enum"), [node["const"]] if "const" in node else ()):
        if choice:
            first = choice[0]
            return sample(schema, first, is_whole=False) if isinstance(first, dict) else first
    kind = node["type"][0] if isinstance(node["type"], list) else node["type"]
    if kind == "object":
        return sample_object(schema, node, is_whole=is_whole)
    if kind == "array":
        return [sample(schema, node["items"], is_whole=False)]
    if kind == "string":
        return next(one for one in EXAMPLES if re.search(node.get("pattern", ""), one))
    return True if kind == "boolean" else node.get("minimum", 1)


def sample_object(schema: dict[str, Any], node: dict[str, Any], *, is_whole: bool) -> object:
    if "properties" not in node:
        ((pattern, child),) = node["patternProperties"].items()
        name = next(one for one in EXAMPLES if re.search(pattern, one))
        return {name: sample(schema, child, is_whole=False)}
    return {
        name: sample(schema, child, is_whole=False)
        for name, child in node["properties"].items()
        if is_whole or name in node.get("required", ())
    }


DEPTH_MAX = 2
"""Of a model's own members and their items; what is below has its own case."""


def places(value: object, at: Path = ()) -> Iterator[Path]:
    """Yield the path of every member and item."""
    yield at
    if len(at) >= DEPTH_MAX and "workspaces" not in at:
        return
    if isinstance(value, dict):
        for name, child in value.items():
            yield from places(child, (*at, name))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from places(child, (*at, index))


def mutations(document: Any) -> Iterator[tuple[Path, object]]:
    """Yield every changed document, with what was changed."""
    for at in places(document):
        for value in VALUES:
            yield at, replaced(document, at, value)
        if at:
            yield at, removed(document, at)
        found = found_at(document, at)
        if isinstance(found, dict):
            yield at, replaced(document, at, {**found, "nonsense": 1})
        if isinstance(found, list) and found:
            yield at, replaced(document, at, [*found, found[0]])


def found_at(document: Any, at: Path) -> Any:
    for step in at:
        document = document[step]
    return document


def replaced(document: Any, at: Path, value: object) -> object:
    if not at:
        return value
    changed = copy.deepcopy(document)
    found_at(changed, at[:-1])[at[-1]] = value
    return changed


def removed(document: Any, at: Path) -> object:
    changed = copy.deepcopy(document)
    del found_at(changed, at[:-1])[at[-1]]
    return changed


def refused_routes(model: type[BaseModel], text: str) -> list[str]:
    try:
        model.model_validate(parse(text, "f", {}).data)
    except ConfigError as error:
        return [fault.message for fault in error.faults]
    except ValidationError as error:
        return [problem["msg"] for problem in error.errors()]
    return []


def refused_pricing(model: type[BaseModel], text: str) -> list[str]:
    try:
        model.model_validate(parse_json(text).value)
    except ValidationError as error:
        return [problem["msg"] for problem in error.errors()]
    return []


def refused_keys(text: str) -> list[str]:
    try:
        parse_document(text, "f")
    except ConfigError as error:
        return [fault.message for fault in error.faults]
    return []


KEYS: Any = {
    "version": 1,
    "workspaces": [
        {
            "id": "w", "plan": "P", "status": "active",
            "keys": [
                {
                    "id": "k", "sha256": "ab" * 32, "prefix": "p", "name": "n",
                    "expires_at": "2027-01-01T00:00:00Z", "revoked_at": None, "features": ["f"],
                    "cidrs": ["10.0.0.0/8"],
                }
            ],
        }
    ],
}  # fmt: skip


def models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the product's models of a kind; modules of tests that ran before have theirs, too."""
    for model in base.__subclasses__():
        if model.__module__.startswith("gateway."):
            yield model
        yield from models(model)


CASES = [
    *((route_schema.schema(), model, refused_routes) for model in models(Model)),
    *((json.loads(schema_bytes()), model, refused_pricing) for model in models(PricingSection)),
]


@pytest.mark.parametrize(
    ("schema", "model", "refused"), CASES, ids=lambda case: getattr(case, "__name__", "")
)
def test_loader_and_schema_agree_on_each_model(
    schema: dict[str, Any],
    model: type[BaseModel],
    refused: Callable[[type[BaseModel], str], list[str]],
) -> None:
    """The pricing file's loader asks the schema itself, of numbers as they are written."""
    top = model.__name__ in {"RouteFile", "PricingFile"}
    own = schema if top else schema["$defs"][model.__name__] | {"$defs": schema["$defs"]}
    validator = jsonschema.Draft202012Validator(own)

    def loader(text: str) -> list[str]:
        found = refused(model, text)
        if refused is refused_pricing:
            found += [error.message for error in validator.iter_errors(parse_json(text).value)]
        return found

    require_agreement(own, sample(own, own), loader)


def test_loader_and_schema_agree_on_keys() -> None:
    require_agreement(keys_schema.schema(), KEYS, refused_keys)


def require_agreement(
    schema: dict[str, Any], document: Any, refused: Callable[[str], list[str]]
) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(document)) == []
    assert refused(json.dumps(document)) == []
    wrong = []
    for at, changed in mutations(document):
        messages = refused(json.dumps(changed, ensure_ascii=False))
        told = [one for one in messages if not any(part in one for part in LOADER_ONLY)]
        if validator.is_valid(changed):
            if told:
                wrong.append(f"{at}: only the loader refuses {shown(changed, at)}: {told[0]}")
        elif not messages:
            wrong.append(f"{at}: only the schema refuses {shown(changed, at)}")
    assert wrong == []


def shown(document: object, at: Path) -> str:
    try:
        return repr(found_at(document, at))
    except (KeyError, IndexError, TypeError):
        return "without it"


ROUTES: Any = {
    "pricing": "p.json",
    "upstreams": {"u": {"endpoints": ["http://h:1"]}},
    "routes": [{"name": "r", "match": {"methods": ["GET"], "path": "/"}, "upstream": "u"}],
}


@pytest.mark.parametrize("version", ["true", "2", "'x'", "1.5", "[1]", "null", "01"])
@pytest.mark.parametrize("file", ["routes", "keys"])
def test_only_one_version_is_known(file: str, version: str) -> None:
    body = ROUTES if file == "routes" else {"workspaces": KEYS["workspaces"]}
    lines = "".join(f"{name}: {json.dumps(value)}\n" for name, value in body.items())

    def refused(told: str) -> list[str]:
        text = f"version: {told}\n{lines}"
        return refused_routes(RouteFile, text) if file == "routes" else refused_keys(text)

    assert refused(version)
    assert not refused("1")
    assert not refused("1.0")
