"""One head after the other, out of the bytes that a client sends.

The gateway itself finds where a head begins and ends, and the three parts of its first line; what
is between them is judged by llhttp, unless nothing in it is unusual. So each byte belongs to
exactly one message, and bodies are counted by nobody but the gateway.
Source: RFC 9112 2.2, 3, 5; STANDARDS 4.1 and 4.2; docs/decisions/0015 and 0016.
"""

import re
from hmac import compare_digest
from typing import Final

import httptools

from gateway.config.snapshot import Underscores
from gateway.errors import Refusal, RefusalCode
from gateway.http.credentials import REMEMBERED_BYTES_MAX
from gateway.http.field_lines import Field, plain_field
from gateway.http.fields import common_lower, has_token, trimmed
from gateway.http.paths import is_plain
from gateway.proxy.active import Active

EMPTY_LINES_MAX: Final = 2
"""Before a request; clients of old sent one behind a body (RFC 9112 2.2)."""
METHOD_BYTES_MAX: Final = 32
AROUND_TARGET_BYTES: Final = len("  HTTP/1.1\r\n")

_CR: Final = 13
_A: Final = ord("A")
_Z: Final = ord("Z")
_NO_PARSER: Final = httptools.HttpRequestParser(None)
_LINE_END: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"
_VERSION: Final = b"HTTP/1.1"
_HTTP_1_1: Final = b"HTTP/1.1\r\n"
_HTTP_1_0: Final = b"HTTP/1.0\r\n"
_PLAIN_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE"})
_PLAIN_TARGET: Final = re.compile(rb"/[!$-;=?-Z_a-z~]*")
"""No fragment, nothing that RFC 3986 leaves out."""


def bad(detail: str) -> Refusal:
    """Return the refusal of a request that can't be understood."""
    return Refusal(RefusalCode.BAD_REQUEST, detail=detail)


class IncomingHead:
    """Reads heads, each fed until it is whole.

    The last line that held a key is kept as long as the connection: most bring the same each time.

    Attributes:
        method: Of the last whole head, as are the others.
        target: As it was sent.
        http_minor: 1, or 0 for HTTP/1.0.
        keep_alive: Whether the client lets the connection live.
        fields: In order, without blanks around values.
        special: Those that the configuration looks at, by name in lower case.
        special_names: The names that it looked at when the head began.
        has_begun: Whether a head is being read.
        was_plain: Whether the last whole head came in one piece and needed no judge.
    """

    __slots__ = (
        "_bytes", "_empty_lines", "_has_refused_name", "_is_used", "_is_whole",
        "_line", "_parser", "_secret", "_secret_line", "_tail", "_underscores",
        "fields", "has_begun", "http_minor", "keep_alive", "method", "special", "special_names",
        "target", "was_plain",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._is_used = False
        self.was_plain = False
        self._is_whole = False
        self.special_names: frozenset[bytes] = frozenset()
        self._underscores: Underscores = "drop"
        self._has_refused_name = False
        self._secret: Field | None = None
        self._secret_line = b""
        self._line = b""
        self._tail = b""
        self._bytes = 0
        self._empty_lines = 0
        self.has_begun = False
        self.method = b""
        self.target = b""
        self.http_minor = 1
        self.keep_alive = True
        self.fields: list[Field] = []
        self.special: dict[bytes, list[bytes]] = {}

    def feed(self, data: bytes, at: int, active: Active) -> int:
        """Read on from a place in what has come; return where the head ends, -1 if it does not yet.

        Raises:
            Refusal: it is no head, or too large a one.
        """
        if not (self._tail or self._line):
            end = self._plain(data, at, active)
            if end:
                return end
        return self._feed_judge(data, at, active)

    def _feed_judge(self, data: bytes, at: int, active: Active) -> int:
        if not self._tail:
            at = self._first_line(data, at, active)
            if at < 0:
                return -1
        end = self._end(data, at)
        stop = len(data) if end < 0 else end
        self._bytes += stop - at
        if self._bytes > active.snapshot.limits.head_bytes_max:
            raise Refusal(RefusalCode.HEAD_TOO_LARGE)
        try:
            self._parser.feed_data(data if not at and stop == len(data) else data[at:stop])
        except httptools.HttpParserUpgrade:
            self._is_used = True
        except httptools.HttpParserError as error:
            raise self._refused(error) from error
        if end < 0:
            self._tail = (self._tail + data[at:])[-3:]
            return -1
        if not self._is_whole:
            raise bad("The request is not valid HTTP.")
        if self._has_refused_name and self._underscores == "refuse":
            raise bad("The name of a field holds an underscore.")
        if len(self.fields) > active.snapshot.limits.header_count_max:
            raise Refusal(RefusalCode.HEAD_TOO_LARGE)
        self.has_begun = False
        self._tail = b""
        return end

    def is_at_rest(self) -> bool:
        """Return whether the next byte begins a message, and nothing stood before it."""
        return not (self._tail or self._line or self._empty_lines)

    def end(self) -> None:
        """Let the parser go, which refers back: otherwise both would wait for the collector."""
        self._parser = _NO_PARSER

    def body_follows(self) -> None:
        """Let llhttp forget the message, if it saw it: its body is not for llhttp."""
        self._is_used = self._is_used or not self.was_plain

    def _plain(self, data: bytes, at: int, active: Active) -> int:
        """Read a head that came whole and needs no judge; return where it ends, 0 if it does."""
        # Most reads end with a head's end; if it is another one's, a line between them is empty.
        end = len(data) - len(_HEAD_END) if data[-4:] == _HEAD_END else data.find(_HEAD_END, at)
        limits = active.snapshot.limits
        if end < at or end + len(_HEAD_END) - at > limits.head_bytes_max:
            return 0
        lines = data[at:end].split(_LINE_END)
        parts = lines[0].split(b" ")
        if (
            len(parts) != 3
            or parts[2] != _VERSION
            or parts[0] not in _PLAIN_METHODS
            or len(parts[1]) > limits.target_bytes_max
            or len(lines) - 1 > limits.header_count_max
            or not (is_plain(parts[1]) or _PLAIN_TARGET.fullmatch(parts[1]))
            or not self._plain_fields(lines, active)
        ):
            return 0
        self.was_plain = True
        self._empty_lines = 0
        self.has_begun = False
        self.method = parts[0]
        self.target = parts[1]
        self.http_minor = 1
        self.keep_alive = True
        return end + len(_HEAD_END)

    def _plain_fields(self, lines: list[bytes], active: Active) -> bool:
        """Read what stands behind the first line; return whether it needs no judge."""
        fields: list[Field] = []
        special: dict[bytes, list[bytes]] = {}
        # Both halves of what is remembered at once: this head may bring another key's line.
        special_names, known_line, known = active.special, self._secret_line, self._secret
        for line in lines[1:]:
            if len(line) == len(known_line) and compare_digest(line, known_line):
                field = known
            else:
                field = plain_field(line)
            if field is None:
                return False
            key = field.key
            if field.frames and not field.keeps_alive and (field.length < 0 or key in special):
                return False
            fields.append(field)
            if key not in special_names:
                continue
            values = special.get(key)
            if values is None:
                special[key] = [field.value]
            else:
                values.append(field.value)
            if field is not known and key in active.secret and len(line) <= REMEMBERED_BYTES_MAX:
                self._secret = field
                self._secret_line = line
        self.fields = fields
        self.special = special
        self.special_names = special_names
        return True

    def _first_line(self, data: bytes, at: int, active: Active) -> int:
        """Read up to the request line's end; return where the head begins in ``data``.

        A line that came in pieces is handed on here, so that the head begins behind it.
        """
        while True:
            found = data.find(b"\n", at)
            stop = len(data) if found < 0 else found + 1
            line = self._line + data[at:stop] if self._line else data[at:stop]
            if found >= 0 and line == b"\r\n":
                self._line = b""
                self.has_begun = False
                self._empty_lines += 1
                if self._empty_lines > EMPTY_LINES_MAX:
                    raise bad("There is no request line.")
                at = stop
                continue
            break
        if not line:
            return -1
        self.has_begun = True
        if line[0] != _CR and not _A <= line[0] <= _Z:
            raise bad("There is no request line.")
        _bound(line, active.snapshot.limits.target_bytes_max)
        if found < 0:
            self._line = line
            return -1
        self._begin(line, active)
        if not self._line:
            return at
        self._line = b""
        return self._hand_on(line, stop)

    def _hand_on(self, line: bytes, stop: int) -> int:
        try:
            self._parser.feed_data(line)
        except httptools.HttpParserError as error:
            raise self._refused(error) from error
        self._tail = line[-2:]
        self._bytes = len(line)
        return stop

    def _refused(self, error: Exception) -> Refusal:
        if isinstance(error, httptools.HttpParserInvalidMethodError) and self.method.isalpha():
            return Refusal(RefusalCode.NOT_IMPLEMENTED, detail="The method is not known.")
        return bad("The request is not valid HTTP.")

    def _begin(self, line: bytes, active: Active) -> None:
        """Look at a request line; the parser looks again (RFC 9112 3)."""
        parts = line.split(b" ")
        if len(parts) != 3 or not parts[1] or line[0] == _CR:
            raise bad("The request line is malformed.")
        self.http_minor = 1
        if parts[2] != _HTTP_1_1:
            if parts[2] != _HTTP_1_0:
                raise _version_refused(parts[2])
            self.http_minor = 0
        self.method = parts[0]
        self.target = parts[1]
        self._bytes = 0
        self._empty_lines = 0
        self.was_plain = False
        self._is_whole = False
        self.special_names = active.special
        self._underscores = active.snapshot.limits.underscores
        self._has_refused_name = False
        self.fields = []
        self.special = {}
        if self._is_used:
            self._is_used = False
            self._parser = httptools.HttpRequestParser(self)

    def _end(self, data: bytes, at: int) -> int:
        """Return where a head ends in ``data``, -1 if it does not."""
        tail = self._tail
        if tail:
            found = (tail + data[at : at + 3]).find(_HEAD_END)
            if found >= 0:
                return at + found + len(_HEAD_END) - len(tail)
        found = data.find(_HEAD_END, at)
        return -1 if found < 0 else found + len(_HEAD_END)

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        value = trimmed(value)
        key = common_lower(name)
        if key is None:
            if b"_" in name and self._underscores != "forward":
                self._has_refused_name = True
                return
            key = name.lower()
        self.fields.append(Field(name, key, value))
        if key in self.special_names:
            values = self.special.get(key)
            if values is None:
                self.special[key] = [value]
            else:
                values.append(value)

    def on_headers_complete(self) -> None:
        self._is_whole = True
        self.keep_alive = self._parser.should_keep_alive()
        self._is_used = not self.keep_alive
        if self.keep_alive and not self.http_minor:
            # llhttp takes `close` beside it for nothing, and Proxy-Connection for the same field.
            options = self.special.get(b"connection", [])
            self.keep_alive = has_token(options, b"keep-alive") and not has_token(options, b"close")


def _bound(line: bytes, target_bytes_max: int) -> None:
    """Refuse a line that has grown too long, saying what of it."""
    if len(line) <= target_bytes_max:
        return
    method_bytes = line.find(b" ")
    if not 0 < method_bytes <= METHOD_BYTES_MAX:
        raise bad("The method is too long.")
    if len(line) > target_bytes_max + method_bytes + AROUND_TARGET_BYTES:
        raise Refusal(RefusalCode.TARGET_TOO_LONG)


def _version_refused(version: bytes) -> Refusal:
    if (
        len(version) == len(_HTTP_1_1)
        and version.startswith(b"HTTP/")
        and version[5:6].isdigit()
        and version[6:7] == b"."
        and version[7:8].isdigit()
        and version.endswith(b"\r\n")
    ):
        return Refusal(RefusalCode.VERSION_UNSUPPORTED)
    return bad("The request line is malformed.")
