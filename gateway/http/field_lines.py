"""Fields of a head as they are looked up and as they are written, and those that need no parser.

Most lines of most heads are the same each time: ``Content-Type: application/json``. A line of a
usual name that was judged once is remembered, without regard to whose head it stood in; lines that
identify or authorise somebody never are.
Source: RFC 9110 5 (fields), RFC 9112 5; docs/decisions/0016-plain-heads.md.
"""

import re
from typing import Final

from gateway.http.fields import common_lower, decimal

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^`|~0-9A-Za-z]+")
"""Without the underscore, about which the configuration decides."""
_BLANK: Final = ord(" ")
_TILDE: Final = ord("~")
_COLON: Final = ord(":")
_ZERO: Final = ord("0")
_FRAMING: Final = frozenset(
    {b"connection", b"content-length", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""To llhttp too, which takes ``Proxy-Connection`` for ``Connection``."""
_LENGTH_DIGITS_MAX: Final = 15

_REMEMBERED: Final = frozenset({
    b"accept", b"accept-encoding", b"accept-language", b"accept-ranges", b"cache-control",
    b"connection", b"content-encoding", b"content-language", b"content-length", b"content-type",
    b"date", b"host", b"keep-alive", b"pragma", b"server", b"strict-transport-security",
    b"user-agent", b"vary", b"x-content-type-options", b"x-frame-options", b"x-powered-by",
})  # fmt: skip
"""Names whose lines are few and nobody's secret."""
_KNOWN_MAX: Final = 1024
_KNOWN_BYTES_MAX: Final = 256


class Field:
    """One field of a head.

    Attributes:
        key: Its name in lower case.
        value: Without blanks before it; a service may have left some behind it.
        line: As it is sent on, line end included.
        frames: Whether it may say where a message ends, or what its connection is for.
        keeps_alive: Whether it is the ``Connection`` that says what is so anyway.
        length: Bytes, of a ``Content-Length`` that nobody can read in another way, else -1.
        usual: The line without its end, if it is one that may be remembered, else empty.
    """

    __slots__ = ("frames", "keeps_alive", "key", "length", "line", "usual", "value")

    def __init__(self, name: bytes, key: bytes, value: bytes) -> None:
        self.key = key
        self.value = value
        self.line = b"%b: %b\r\n" % (name, value)
        self.frames = key in _FRAMING
        self.keeps_alive = False
        self.length = -1
        self.usual = b""
        if key == b"connection":
            self.keeps_alive = value.lower() == b"keep-alive"
        elif key == b"content-length":
            self.length = _plain_length(value)

    @property
    def name(self) -> bytes:
        """The name as it was sent."""
        return self.line[: len(self.key)]


_known: Final[dict[bytes, Field]] = {}
"""By line. Little more than 1 MB at most, names and values included."""


def plain_field(line: bytes) -> Field | None:
    """Return the field that a line without its end holds, None if a parser must judge it.

    A name, a colon, one blank, visible ASCII: narrower than RFC 9110 5.5, which has empty values,
    tabs and bytes beyond ASCII too.
    """
    field = _known.get(line)
    return _judged(line) if field is None else field


def _judged(line: bytes) -> Field | None:
    colon = _colon_in(line)
    if line[colon : colon + 2] != b": ":
        return None
    name, value = line[:colon], line[colon + 2 :]
    key = common_lower(name)
    if key is None:
        if _NAME.fullmatch(name) is None:
            return None
        key = name.lower()
    if not _is_visible(value):
        return None
    field = Field(name, key, value)
    if key in _REMEMBERED and len(line) <= _KNOWN_BYTES_MAX:
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        _known[line] = field
        field.usual = line
    return field


def _colon_in(line: bytes) -> int:
    """Return where the first colon is, or the end; compiled, it calls nothing."""
    for at in range(len(line)):
        if line[at] == _COLON:
            return at
    return len(line)


def _is_visible(value: bytes) -> bool:
    """Return whether a value is ASCII without control characters, and no blanks surround it."""
    for at in range(len(value)):
        if not _BLANK <= value[at] <= _TILDE:
            return False
    return len(value) > 0 and value[0] != _BLANK and value[-1] != _BLANK


def _plain_length(value: bytes) -> int:
    """Return what a length means to everybody, -1 if some may differ or overflow at it."""
    if (
        not value.isdigit()
        or len(value) > _LENGTH_DIGITS_MAX
        or (value[0] == _ZERO and len(value) > 1)
    ):
        return -1
    return decimal(value)
