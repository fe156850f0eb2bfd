"""Small files of the journal's folder: a JSON object with a CRC, replaced whole.

The CRC covers the bytes as they stand, so whatever bit is flipped is found; a reader that knows
nothing of it finds a JSON object with one member more.

Source: design sections 8 and 13.
"""

import os
import re
from pathlib import Path
from typing import Final

import orjson

from gateway.metering.journal_format import checksum

_SEALED: Final = re.compile(rb'(\{.*),"crc":"([0-9a-f]{8})"\}', re.DOTALL)


def sealed(values: dict[str, object]) -> bytes:
    """Return an object that is not empty as it is written."""
    body = orjson.dumps(values)[:-1]
    return b'%b,"crc":"%08x"}' % (body, checksum(body))


def unsealed(content: bytes) -> dict[str, object]:
    """Return the object of a file.

    Raises:
        ValueError: it is not as it was written.
    """
    match = _SEALED.fullmatch(content)
    if match is None or b"%08x" % checksum(match[1]) != match[2]:
        raise ValueError("its checksum is wrong")
    values: dict[str, object] = orjson.loads(content)
    return values


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Replace a file by another content, durably and at once. Blocking.

    Each process writes a temporary file of its own, ``NAME.PID``.

    Raises:
        OSError: the old content is there still.
    """
    temporary = folder / f"{name}.{os.getpid()}"
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / name)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
