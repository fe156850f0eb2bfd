"""The command's standard streams: no character, closed pipe or full disk may end it in a traceback.

Source: docs/reference/commands.md; Python documentation, "Error Handlers" (``backslashreplace``).
"""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO


def prepare() -> None:
    """Make stdout and stderr take every text, whatever their encoding and whether they are open.

    What an encoding lacks is written as an escape. A closed descriptor is filled with the null
    device: otherwise the next file that is opened would become stderr, and errors go into it.
    ``sys.stdout`` stays None where it was closed: an answer without a reader is an error.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # It gets the lowest number that is free, this one; the worker inherits it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - it has no name
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def encoding_of(stream: TextIO | None) -> str:
    """Return a stream's encoding; UTF-8 where it has none."""
    return getattr(stream, "encoding", None) or "utf-8"


def forget(stream: TextIO) -> None:
    """Let the interpreter write at its end, into nothing, what could not be written."""
    with suppress(OSError, ValueError):  # a stream of a test has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
