"""Passwords that stand in a route file instead of in the environment (B11)."""

import re
from typing import Final

_PASSWORD: Final = re.compile(r"\b[a-z][a-z0-9+]*://[^\s/:@\"']*:(?P<password>[^\s/@\"']+)@")
_FILLED: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def lines_with_passwords(text: str) -> list[int]:
    """Return the numbers of lines with a URL whose password is written out.

    Args:
        text: A route file as it stands, its ``${NAME}`` not filled yet.
    """
    return [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if not line.lstrip().startswith("#")
        and any(_FILLED.sub("", found["password"]) for found in _PASSWORD.finditer(line))
    ]
