"""Strict: what is not known, or of another type, is a mistake."""

import pytest
from pydantic import ValidationError

from gateway.config.model import Model


class _Thing(Model):
    size: int = 1
    colour: str | None = None


@pytest.mark.parametrize("told", [{"weight": 1}, {"size": "1"}, {"size": 1.0}, {"size": True}])
def test_unknown_keys_and_other_types_are_mistakes(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        _Thing.model_validate(told)


@pytest.mark.parametrize("name", ["size", "colour"])
def test_a_key_with_nothing_behind_it_is_a_mistake(name: str) -> None:
    """Left out it has its default; written, something was meant."""
    assert _Thing().colour is None
    with pytest.raises(ValidationError, match="given, but empty"):
        _Thing.model_validate({name: None})


def test_a_model_never_changes() -> None:
    with pytest.raises(ValidationError):
        _Thing().size = 2
