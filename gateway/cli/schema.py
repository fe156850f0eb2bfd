"""``gateway schema``: the JSON Schemas of the two files that operators write, for editors."""

from enum import Enum
from typing import Annotated

import typer

from gateway.cli import output


class File(Enum):
    """Which file's schema."""

    ROUTES = "routes"
    PRICING = "pricing"


def show(*, file: Annotated[File, typer.Argument(help="Whose schema.")]) -> None:
    """Print the JSON Schema of the route file or of the pricing file.

    Editors complete and check a file that names it: # yaml-language-server: $schema=...
    """
    if file is File.ROUTES:
        from gateway.config import routes  # noqa: PLC0415 - brings pydantic

        output.document(routes.schema())
    else:
        from gateway.config import pricing_schema  # noqa: PLC0415 - brings pydantic

        output.line(pricing_schema.schema_bytes().decode().rstrip())
