"""Every option of the route file is described, for schema, reference and editors."""

from collections.abc import Iterator

from pydantic import BaseModel

from gateway.config import routes


def models() -> Iterator[type[BaseModel]]:
    for thing in vars(routes).values():
        if isinstance(thing, type) and issubclass(thing, routes.Model):
            yield thing


def test_every_option_is_described() -> None:
    silent = [
        f"{model.__name__}.{name}"
        for model in models()
        for name, field in model.model_fields.items()
        if not field.description
    ]

    assert silent == []


def test_unknown_keys_are_mistakes_everywhere() -> None:
    assert all(model.model_config.get("extra") == "forbid" for model in models())
