"""The files that a configuration is made of: read within bounds, told apart by one digest.

Imports no pydantic: the serving process looks here whether anything changed.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A route file of 5,000 routes has 2 MB; a wrong path must not fill the memory."""


def read_bounded(path: Path, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """Return a configuration file's content.

    Raises:
        GatewayError: it can't be read, or is larger than any configuration.
    """
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise GatewayError(
            "config.unreadable",
            f"{path} can't be read: {error.strerror or error}",
            "give the route file with --config, and see that this user may read it",
        ) from error
    if len(content) > bytes_max:
        size = bytes_max // (1024 * 1024)
        raise GatewayError("config.too_large", f"{path} is larger than {size} MB", "split it")
    return content


def read_all(paths: Iterable[Path]) -> dict[str, bytes]:
    """Return the content of every file by its name; one that can't be read has none."""
    found = {}
    for path in paths:
        try:
            found[str(path)] = read_bounded(path)
        except GatewayError:
            found[str(path)] = b""
    return found


def digest(sources: Mapping[str, bytes]) -> str:
    """Return one digest of all files, by name and content."""
    whole = hashlib.sha256()
    for name in sorted(sources):
        whole.update(os.fsencode(name) + b"\0" + hashlib.sha256(sources[name]).digest())
    return whole.hexdigest()
