"""Whether the last event of an event stream has been passed on: clients may leave then.

The official clients of the large language model services close their connection once they have
read the event that ends the answer, and never read on to the end of the body.
Source: WHATWG HTML 9.2.5 and 9.2.6 (event streams); docs/semantics.md.
"""

import re
from typing import Final

from gateway.http.field_lines import Field

LOOKED_AT_EVERY_BYTES: Final = 4096
"""So much of a stream waits, unlooked at, until it is worth a look, or the client leaves."""

_MARKS: Final = (b"[DONE]", b"message_stop", b"response.completed")
_LAST: Final = re.compile(
    rb"""[\r\n](?:
        data:[ ]?\[DONE\][\r\n]
        | event:[ ]?(?:message_stop|response\.completed)[\r\n]
        | data:[ ]?\{\s*"type"\s*:\s*"(?:message_stop|response\.completed)"
    )""",
    re.VERBOSE,
)
"""At the beginning of a line only: within the text of an answer a line's end is escaped."""
_BLANK: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_BYTES_MAX: Final = 64
"""What of a line is looked at, with the end of the line before it."""
_EVENT_STREAM: Final = b"text/event-stream"


class EventEnd:
    """Follows one event stream: the pieces in, a yes or no out."""

    __slots__ = ("_bytes", "_has_begun_last", "_is_over", "_pieces", "_tail")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._tail = b"\n"  # a stream begins with a line
        self._has_begun_last = False
        self._is_over = False

    def note(self, data: bytes) -> None:
        """Take a piece that was passed on; it may begin and end anywhere."""
        if self._is_over:
            return
        self._pieces.append(data)
        self._bytes += len(data)
        if self._bytes > LOOKED_AT_EVERY_BYTES:
            self._look()

    def has_passed(self) -> bool:
        """Return whether the last event of the answer has been passed on whole."""
        self._look()
        return self._is_over

    def _look(self) -> None:
        if self._is_over or not self._pieces:
            return
        text = b"".join([self._tail, *self._pieces])
        self._pieces.clear()
        self._bytes = 0
        at = 0
        if not self._has_begun_last:
            found = _LAST.search(text) if _may_hold(text) else None
            if found is None:
                self._tail = text[-_LINE_BYTES_MAX:]
                return
            self._has_begun_last = True
            # The line's own end may be the first half of the blank line.
            at = found.end() - 1
        self._is_over = _BLANK.search(text, at) is not None
        self._tail = text[-3:]


def _may_hold(text: bytes) -> bool:
    """Return whether it is worth a closer look; to find plain bytes is many times faster."""
    for mark in _MARKS:  # noqa: SIM110 - compiled, cheaper than a generator
        if mark in text:
            return True
    return False


def event_end_of(fields: list[Field]) -> EventEnd | None:
    """Return what follows an answer with these fields; None if it is no readable event stream."""
    is_stream = False
    for field in fields:
        if field.key == b"content-type":
            is_stream = field.value[: len(_EVENT_STREAM)].lower() == _EVENT_STREAM
        elif field.key == b"content-encoding" and field.value.lower() != b"identity":
            return None
    return EventEnd() if is_stream else None
