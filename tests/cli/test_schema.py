"""The published schemas can be had from the command line."""

import json

import pytest

from tests.support.operator_desk import OperatorDesk


@pytest.mark.parametrize(("file", "member"), [("routes", "routes"), ("pricing", "tiers")])
def test_a_schema_is_json_and_describes_its_file(
    desk: OperatorDesk, file: str, member: str
) -> None:
    schema = json.loads(desk.run("schema", file))

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert member in schema["properties"]
