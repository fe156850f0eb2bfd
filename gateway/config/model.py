"""What every model of the route file is: strict and immutable."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Strict: unknown keys and wrong types are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
