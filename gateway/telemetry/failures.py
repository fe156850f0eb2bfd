"""How an operator is told of an error: a paragraph with a hint, or one JSON object.

Source: docs/reference/commands.md.
"""

from dataclasses import asdict
from textwrap import fill
from typing import Final

from gateway.errors import ConfigError, GatewayError
from gateway.telemetry.printable import json_text, one_line, printable

WIDTH: Final = 100


def failure_text(error: GatewayError, *, as_json: bool, encoding: str, width: int = WIDTH) -> str:
    """Return the text of an error, without its last line end.

    Args:
        error: With the faults of files, each with its place, if it is a ``ConfigError``.
        as_json: One object on one line: ``code``, ``message``, ``hint``, ``problems``.
        encoding: Of the stream that gets it.
        width: Of a line for people.
    """
    if as_json:
        return json_text(_described(error), encoding)
    if isinstance(error, ConfigError):
        lines = [one_line(str(fault)) for fault in error.faults]
    else:
        lines = [_wrapped(f"error: {error.message} [{error.code}]", width)]
    if error.hint:
        lines.append(_wrapped(f"hint: {error.hint}", width))
    return "\n".join(lines)


def _described(error: GatewayError) -> dict[str, object]:
    faults = error.faults if isinstance(error, ConfigError) else []
    message = f"the configuration has faults: {len(faults)}" if faults else error.message
    problems = [asdict(fault) for fault in faults]
    return {"code": error.code, "message": message, "hint": error.hint, "problems": problems}


def _wrapped(text: str, width: int) -> str:
    """Return a paragraph whose paths and options can be copied whole."""
    return printable(fill(text, width, break_long_words=False, break_on_hyphens=False))
