"""The chunked transfer coding, read strictly, however its bytes are cut.

Nothing is guessed: a size is hexadecimal digits and nothing else, lines end with CRLF, extensions
have their grammar and are dropped. Where two readers could disagree on where a body ends, it is
broken (RFC 9112 7.1; STANDARDS 4.2).
"""

import re
from typing import Final

Trailers = list[tuple[bytes, bytes]]

LINE_BYTES_MAX: Final = 4096
"""Longest line of a size with its extensions."""
OVERHEAD_BYTES_MAX: Final = 16 * 1024
"""Bytes of size lines that a body may carry beyond what its data accounts for."""
OVERHEAD_PER_CHUNK_BYTES: Final = 32
"""What a size line may take without being counted: enough for every honest sender."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*"
)
_NAME: Final = re.compile(_TOKEN)
_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")


class BrokenChunks(ValueError):  # noqa: N818 - the bytes are at fault
    """The body can't be read on; ``is_too_large`` says that it is a matter of size."""

    def __init__(self, message: str, *, is_too_large: bool = False) -> None:
        super().__init__(message)
        self.is_too_large = is_too_large


class ChunkDecoder:
    """One body in chunks.

    Attributes:
        trailers: The fields behind the last chunk.
        is_complete: Whether the body has come to its end.
    """

    __slots__ = (
        "_due", "_in_trailers", "_line", "_overhead_bytes", "_remaining", "_trailer_bytes_left",
        "_trailers_left", "is_complete", "trailers",
    )  # fmt: skip

    def __init__(self, trailer_bytes_max: int, trailers_max: int) -> None:
        self._line = b""
        self._remaining = 0
        self._due = b""
        self._in_trailers = False
        self._overhead_bytes = 0
        self._trailer_bytes_left = trailer_bytes_max
        self._trailers_left = trailers_max
        self.trailers: Trailers = []
        self.is_complete = False

    def feed(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Read on from a place in what has come; return where reading stopped.

        That is the end of ``data``, or of the body.

        Args:
            data: What has come.
            at: Where to begin in it.
            pieces: The body's data is appended here.

        Raises:
            BrokenChunks: it is not chunked as it should be.
        """
        end = len(data)
        while at < end and not self.is_complete:
            if self._remaining:
                stop = min(end, at + self._remaining)
                pieces.append(data[at:stop])
                self._remaining -= stop - at
                at = stop
                if not self._remaining:
                    self._due = b"\r\n"
            elif self._due:
                if data[at : at + 1] != self._due[:1]:
                    raise BrokenChunks("a chunk is longer than its size")
                self._due = self._due[1:]
                at += 1
            else:
                at = self._feed_line(data, at)
        return at

    def _feed_line(self, data: bytes, at: int) -> int:
        """Read up to the end of a line; a whole one is looked at."""
        found = data.find(b"\n", at)
        stop = len(data) if found < 0 else found + 1
        bytes_max = self._trailer_bytes_left if self._in_trailers else LINE_BYTES_MAX
        if len(self._line) + stop - at > bytes_max + 2:
            raise BrokenChunks("a line is too long", is_too_large=True)
        line = self._line + data[at:stop] if self._line else data[at:stop]
        if found < 0:
            self._line = line
            return stop
        self._line = b""
        if line[-2:] != b"\r\n":
            raise BrokenChunks("a line ends without CR")
        if self._in_trailers:
            self._trailer(line[:-2])
        else:
            self._size(line[:-2])
        return stop

    def _size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise BrokenChunks("the size of a chunk is malformed")
        size = int(match[1], 16)
        self._overhead_bytes += len(line) - OVERHEAD_PER_CHUNK_BYTES - size
        self._overhead_bytes = max(self._overhead_bytes, 0)
        if self._overhead_bytes > OVERHEAD_BYTES_MAX:
            raise BrokenChunks("more extensions than data", is_too_large=True)
        self._remaining = size
        self._in_trailers = not size

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.is_complete = True
            return
        self._trailer_bytes_left -= len(line) + 2
        self._trailers_left -= 1
        if self._trailers_left < 0:
            raise BrokenChunks("too many trailers", is_too_large=True)
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BrokenChunks("a trailer is malformed")
        self.trailers.append((name, value))
