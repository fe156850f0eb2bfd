"""A run of bytes whose meaning is known, and how they are made."""

from dataclasses import dataclass
from typing import Final

CRLF: Final = b"\r\n"

HIDDEN: Final = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
"""A request that no parser may see unless all do."""


@dataclass(frozen=True, slots=True)
class Vector:
    """One run of bytes.

    Attributes:
        name: Family and spelling.
        data: What the client sends.
        status: What it is refused with; 0 if it is forwarded.
        forwarded: The targets that reach the service then, in order.
    """

    name: str
    data: bytes
    status: int = 0
    forwarded: tuple[str, ...] = ()


def post(fields: bytes, body: bytes) -> bytes:
    """Return a POST with further fields, and what comes behind its head."""
    return b"POST /v HTTP/1.1\r\nHost: a\r\n" + fields + CRLF + body


def shown(data: bytes) -> str:
    """Return how a spelling is named."""
    return repr(data)[2:-1][:60]
