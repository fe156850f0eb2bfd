"""What every model of the route file is: strict and immutable; and types that several have."""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, no_info_before_validator_function

from gateway.rules.identifiers import NAME_PATTERN


class Model(BaseModel):
    """Strict: unknown keys, wrong types and keys without a value are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _holds_something(cls, value: object) -> object:
        """Refuse a key with nothing behind it: whoever wrote it did not mean its default."""
        if value is None:
            raise ValueError("given, but empty")
        return value


class _Listed:
    """One item may stand for a list of one."""

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - a type
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        return no_info_before_validator_function(self._listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        whole = handler(schema)
        return {"anyOf": [whole, whole["items"]]}

    @staticmethod
    def _listed(value: object) -> object:
        return [value] if isinstance(value, str) else value


Listed: Final = _Listed()
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
FileName = Annotated[str, Field(min_length=1)]
"""A file, relative to the route file."""


def _version(value: object) -> object:
    """Refuse ``true``, which Python takes for 1."""
    if type(value) is not int or value != 1:
        raise ValueError("expected the number 1")
    return value


Version = Annotated[Literal[1], BeforeValidator(_version)]
