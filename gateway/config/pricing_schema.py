"""The published JSON Schema of the pricing file: made from the models, kept as a file, used first.

``fixtures/pricing_ssot_schema.json`` is the same text; tests compare both with ``generate``.
Source: JSON Schema 2020-12; requirement A1.
"""

import functools
import json
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator

from gateway.config.pricing_models import PricingFile
from gateway.config.pricing_values import PATTERN_WORDS


def schema_bytes() -> bytes:
    """Return the published schema, as packaged."""
    return (
        resources.files("gateway.config").joinpath("schema/pricing_ssot_schema.json").read_bytes()
    )


@functools.cache
def validator() -> Draft202012Validator:
    """Return the validator of the published schema."""
    return Draft202012Validator(json.loads(schema_bytes()))


def generate() -> bytes:
    """Return the schema that the models mean; written to the two files when a model changes."""
    schema = _tidy(PricingFile.model_json_schema(by_alias=True))
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Enforcement Gateway pricing file",
    }
    return (json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n").encode()


def _tidy(node: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Drop titles made from names, write "this or null" as one type, put patterns into words."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {
        name: _tidy(member)
        for name, member in node.items()
        if not (name == "title" and isinstance(member, str))
        and not (name == "default" and member is None)
    }
    if "pattern" in tidied:
        tidied["patternErrorMessage"] = PATTERN_WORDS[tidied["pattern"]]  # editors show it
    choices = tidied.pop("anyOf", None)
    if choices is None:
        return tidied
    wanted, null = choices
    assert null == {"type": "null"}
    return tidied | wanted | {"type": [wanted["type"], "null"]}
