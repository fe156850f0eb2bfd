"""The published schema: made from the models, equal in both places, valid itself. A1, item 0.23."""

import json

import pytest
from jsonschema import Draft202012Validator

from gateway.config.pricing_schema import generate, schema_bytes, validator
from tests.support.pricing_files import ORIGIN_FILE, PRICING_FIXTURE, ROOT

REGENERATE = (
    "a model changed: write gateway.config.pricing_schema.generate() to "
    "gateway/config/schema/pricing_ssot_schema.json and fixtures/pricing_ssot_schema.json"
)


def test_the_published_schema_is_what_the_models_mean() -> None:
    assert schema_bytes() == generate(), REGENERATE


def test_the_fixture_is_the_packaged_schema() -> None:
    assert (ROOT / "fixtures" / "pricing_ssot_schema.json").read_bytes() == schema_bytes()


def test_the_schema_is_valid_itself() -> None:
    Draft202012Validator.check_schema(json.loads(schema_bytes()))


def test_the_fixtures_point_at_the_schema() -> None:
    assert json.loads(PRICING_FIXTURE.read_bytes())["$schema"] == "./pricing_ssot_schema.json"


def test_our_file_is_valid_by_the_schema_alone() -> None:
    assert list(validator().iter_errors(json.loads(PRICING_FIXTURE.read_bytes()))) == []


@pytest.mark.skipif(not ORIGIN_FILE.exists(), reason="the first system's file is not beside us")
def test_the_file_of_the_first_system_is_valid_by_the_schema_alone() -> None:
    assert list(validator().iter_errors(json.loads(ORIGIN_FILE.read_bytes()))) == []


def test_every_member_is_described_and_no_object_is_open() -> None:
    """A1: editors explain each member; an unknown key is never ignored."""
    schema = json.loads(schema_bytes())
    for name, node in {"root": schema, **schema["$defs"]}.items():
        assert node["additionalProperties"] is False, name
        for member, part in node["properties"].items():
            named = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else {}
            assert part.get("description") or named["description"], f"{name}.{member}"


def test_tier_names_are_data() -> None:
    """DESIGN section 5: not an enum in code."""
    assert "enum" not in json.loads(schema_bytes())["$defs"]["TierFile"]["properties"]["tier"]
