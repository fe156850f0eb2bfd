"""``gateway schema``: the JSON Schemas of the two files that operators write, for editors."""

from enum import Enum
from importlib import resources
from typing import Annotated

import typer

from gateway.cli import output


class File(Enum):
    """Which file's schema."""

    ROUTES = "routes"
    PRICING = "pricing"


def show(
    *,
    file: Annotated[File, typer.Argument(help="Whose schema.")],
) -> None:
    """Print the JSON Schema of the route file or of the pricing file."""
    source = resources.files("gateway.config") / "schema" / f"{file.value}.schema.json"
    output.line(source.read_text(encoding="utf-8").rstrip())
