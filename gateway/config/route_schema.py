"""The published JSON Schema of the route file, made from its models.

``fixtures/route_file_schema.json`` is the same text; docs/generate.py writes it.
Source: JSON Schema 2020-12; requirement X3.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DictSchema, NullableSchema, WithDefaultSchema

from gateway.config.routes import RouteFile


class _Written(GenerateJsonSchema):
    """What may be written: an option without a default is left out, never null."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        return made | {"additionalProperties": False} if "patternProperties" in made else made

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if (key, value) != ("default", None)}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the route file, for editors."""
    made = RouteFile.model_json_schema(by_alias=True, schema_generator=_Written)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
