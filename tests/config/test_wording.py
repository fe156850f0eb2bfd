"""Whatever a model refuses is told in our own words: no sentence of the library comes through."""

from decimal import Decimal
from typing import Any, cast

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core._pydantic_core import list_all_errors

from gateway.config.model import Model
from gateway.config.pricing_models import PricingSection
from gateway.config.pricing_values import PATTERN_WORDS
from gateway.config.route_schema import schema
from gateway.config.routes import FORMS
from gateway.config.wording import both, in_words, keys_at, or_a_mapping, shown
from tests.config.test_schemas_agree import VALUES

THEIRS = (
    "Input should", "Field required", "Extra inputs", "Value error", "String should", "pydantic",
    "List should", "Dictionary", "validation", "valid ", "unable to", "instance of", "String ",
)  # fmt: skip


@pytest.mark.parametrize("known", list_all_errors(), ids=lambda known: known["type"])
def test_every_kind_of_error_of_the_library_has_words(known: Any) -> None:
    """All that it may raise, not only what our models raise today."""
    context = known.get("example_context") or {}
    if known["type"] == "string_pattern_mismatch":
        context = {"pattern": next(iter(FORMS))}
    problem = {
        "type": known["type"], "loc": ("routes", 0), "msg": known["message_template_python"],
        "input": "x", "ctx": context,
    }  # fmt: skip

    message, expected = in_words(cast("ErrorDetails", problem), FORMS)

    assert message
    text = f"{message} ({expected})"
    assert not [words for words in THEIRS if words in text], text
    assert known["message_template_python"] not in text


def models(base: type[BaseModel]) -> list[type[BaseModel]]:
    return [base, *(deeper for model in base.__subclasses__() for deeper in models(model))]


@pytest.mark.parametrize("base", [Model, PricingSection])
def test_nothing_that_our_models_raise_is_in_the_words_of_the_library(
    base: type[BaseModel],
) -> None:
    """Each member of each model, with values of all kinds."""
    seen: set[str] = set()
    for model in models(base)[1:]:
        for value in VALUES:
            document = {
                field.alias or name: value for name, field in model.model_fields.items()
            } | {"nonsense": 1}
            try:
                model.model_validate(document)
            except ValidationError as error:
                for problem in error.errors(include_url=False):
                    forms = FORMS | PATTERN_WORDS
                    text = " ".join(in_words(problem, forms))
                    assert not [words for words in THEIRS if words in text], text
                    seen.add(problem["type"])
    assert {"extra_forbidden", "literal_error", "int_type", "list_type", "value_error"} <= seen


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (True, "true"), (5, "5"), (Decimal("1.5"), "1.5"), ("x", "'x'"), (None, "nothing"),
        ([1], "a list"), ({}, "a mapping"), ("a\nb", "a text"),
        ("a" * 50, "'" + "a" * 40 + "'..."),
    ],
)  # fmt: skip
def test_what_was_found_is_shown_shortly(value: object, told: str) -> None:
    assert shown(value) == told


def test_what_came_from_the_environment_is_not_shown() -> None:
    assert shown("hunter2", is_hidden=True) == "a text"


def test_a_choice_names_all_branches() -> None:
    assert both(("a", "one"), ("b", "two")) == ("this can't stand here", "one; or two")
    assert both(("a", "one"), ("b", "one")) == ("a", "one")
    assert both(("5 can't stand here", "one"), ("b", "two"))[0] == "5 can't stand here"
    assert both(("a", ""), ("b", "two")) == ("this can't stand here", "two")


def test_nothing_is_told_as_given_but_empty() -> None:
    problem: Any = {"type": "model_type", "loc": ("upstreams", "a"), "msg": "", "input": None}
    assert in_words(problem, FORMS) == ("given, but empty", "a mapping")


def test_a_mapping_that_may_stand_as_well_is_told_with_its_keys() -> None:
    told = ("5 can't stand here", "none")
    assert or_a_mapping(told, {"b", "a"}) == ("5 can't stand here", "none; or a mapping with a, b")
    assert or_a_mapping(told, ()) == told
    for telling in (("5 is too small", "at least 6"), ("5 can't stand here", "did you mean 6?")):
        assert or_a_mapping(telling, {"a"}) == telling


def test_keys_of_a_place() -> None:
    known = schema()
    assert {"upstreams", "routes", "version"} <= keys_at(known, ())
    assert {"name", "match", "upstream"} <= keys_at(known, ("routes", 3))
    assert {"header", "json"} <= keys_at(known, ("routes", 0, "cost", "dc", "settle"))
    assert {"endpoints"} <= keys_at(known, ("upstreams", "any"))
    assert keys_at(known, ("version", "x")) == set()


def test_a_mistyped_key_and_word_are_guessed() -> None:
    problem: Any = {"type": "extra_forbidden", "loc": ("ruotes",), "msg": "", "input": 1}
    assert in_words(problem, FORMS, {"routes", "keys"}) == (
        "this key is not known here", "did you mean routes? one of keys, routes"
    )  # fmt: skip
    word: Any = {
        "type": "literal_error", "loc": ("auth",), "msg": "", "input": "nnoe",
        "ctx": {"expected": "'none' or 'all'"},
    }  # fmt: skip
    assert in_words(word, FORMS) == (
        "'nnoe' can't stand here",
        "did you mean none? one of none, all",
    )
