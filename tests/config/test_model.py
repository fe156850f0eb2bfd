"""Strict: what is not known, or of another type, is a mistake."""

import pytest
from pydantic import ValidationError

from gateway.config.model import Model


class _Thing(Model):
    size: int = 1


@pytest.mark.parametrize("told", [{"colour": 1}, {"size": "1"}, {"size": 1.0}, {"size": True}])
def test_unknown_keys_and_other_types_are_mistakes(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        _Thing.model_validate(told)


def test_a_model_never_changes() -> None:
    with pytest.raises(ValidationError):
        _Thing().size = 2
