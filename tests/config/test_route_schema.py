"""The route file's schema is the published one's source, and tells what its options may be."""

from collections.abc import Iterator

from jsonschema import Draft202012Validator

from gateway.config.route_schema import schema
from gateway.config.routes import FORMS


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def test_what_has_no_default_is_left_out_and_never_null() -> None:
    ledger = schema()["properties"]["ledger"]

    assert ledger["type"] == "string"
    assert "default" not in ledger


def test_names_of_maps_that_no_pattern_takes_are_refused() -> None:
    assert schema()["properties"]["upstreams"]["additionalProperties"] is False


def patterns(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str) and "ms|s|m|h|d" not in node["pattern"]:
            yield node["pattern"]
        for value in node.values():
            yield from patterns(value)
    elif isinstance(node, list):
        for value in node:
            yield from patterns(value)


def test_every_pattern_is_told_in_words() -> None:
    sizes = r"^[0-9]{1,12}(B|[kK]B|MB|GB|KiB|MiB|GiB)?$"

    assert set(patterns(schema())) - {sizes} <= FORMS.keys()
