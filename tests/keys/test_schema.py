"""The published schema of the keys file; tests/config/test_schemas_agree.py compares it."""

import jsonschema
import pytest
import yaml

from gateway.keys import document
from gateway.keys.schema import schema


def test_it_is_a_schema_and_names_all_members() -> None:
    published = schema()
    jsonschema.Draft202012Validator.check_schema(published)
    workspace = published["properties"]["workspaces"]["items"]

    assert set(published["properties"]) == document.TOP
    assert set(workspace["properties"]) == document.WORKSPACE
    assert set(workspace["properties"]["keys"]["items"]["properties"]) == document.KEY


def test_the_example_of_the_module_fits() -> None:
    text = (document.__doc__ or "").partition("::\n")[2].partition("\n\nThe secrets")[0]
    found = yaml.load(text, yaml.BaseLoader)
    found["version"] = 1
    found["workspaces"][0]["keys"][0]["revoked_at"] = None

    assert list(jsonschema.Draft202012Validator(schema()).iter_errors(found)) == []


@pytest.mark.parametrize("wrong", [{"version": True}, {"version": 2}, {}, {"version": 1, "x": 1}])
def test_what_is_refused(wrong: object) -> None:
    assert not jsonschema.Draft202012Validator(schema()).is_valid(wrong)
