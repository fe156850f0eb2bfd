"""``gateway schema``: the JSON Schemas of the files that operators write, for editors."""

import json
from enum import Enum
from typing import Annotated

import typer

from gateway.cli import output


class File(Enum):
    """Which file's schema."""

    ROUTES = "routes"
    PRICING = "pricing"
    KEYS = "keys"


def show(
    *,
    file: Annotated[File, typer.Argument(help="Whose schema.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="As always: a schema is JSON. Errors are JSON, too.")
    ] = False,
) -> None:
    """Print the JSON Schema of the route file, the pricing file or the keys file.

    Editors complete and check a file that names it: # yaml-language-server: $schema=...
    """
    del as_json
    if file is File.ROUTES:
        from gateway.config import route_schema  # noqa: PLC0415 - brings pydantic

        output.document(route_schema.schema())
    elif file is File.KEYS:
        from gateway.keys import schema  # noqa: PLC0415 - brings yaml

        output.document(schema.schema())
    else:
        from gateway.config import pricing_schema  # noqa: PLC0415 - brings pydantic

        output.document(json.loads(pricing_schema.schema_bytes()))
