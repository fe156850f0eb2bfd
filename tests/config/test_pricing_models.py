"""The models of the pricing file: exact types, nothing unknown, and each member described."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from gateway.config.pricing_models import ExtraMeterFile, PricingFile, PricingSection


def models(base: type[BaseModel] = PricingSection) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from models(model)


def test_every_member_is_described() -> None:
    silent = [
        f"{model.__name__}.{name}"
        for model in models()
        for name, field in model.model_fields.items()
        if not field.description
    ]

    assert PricingFile in models()
    assert silent == []


@pytest.mark.parametrize("members", [{"unit": 5}, {"unit": "tokens", "price": 1}, {}])
def test_types_are_exact_and_unknown_members_refused(members: dict[str, object]) -> None:
    assert ExtraMeterFile(unit="tokens").unit == "tokens"

    with pytest.raises(ValidationError):
        ExtraMeterFile.model_validate(members)
