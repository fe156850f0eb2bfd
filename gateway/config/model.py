"""What every model of the route file is: strict and immutable."""

from pydantic import BaseModel, ConfigDict, field_validator


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
