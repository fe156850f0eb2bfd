"""A command whose names and ids are text: bytes that are none are wrong usage.

Python has bytes of an argument that are no UTF-8 as lone surrogates, which neither a database nor a
JSON document can hold.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer
from typer.core import TyperCommand

from gateway.telemetry.printable import has_characters

_BYTES: Final = frozenset({"header", "body"})
"""Parts of a request, which may hold any byte. Paths are no ``str``."""


class TextCommand(TyperCommand):
    """Looks at what was given before the command runs."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - Click's, of which Typer may have its own copy
        """Run the command.

        Raises:
            typer.BadParameter: an argument is no text.
        """
        for name, text in _texts(ctx.params):
            if not has_characters("utf-8", text):
                raise typer.BadParameter(f"{text!r} is not UTF-8", ctx, param_hint=name)
        return super().invoke(ctx)


def _texts(given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        if name not in _BYTES:
            values = value if isinstance(value, list | tuple) else [value]
            yield from ((name, text) for text in values if isinstance(text, str))
