"""WebSocket frames as a relay sees them: where they begin and end, and a Close to end with. Pure.

Only the bytes of heads are looked at, one after the other, so that a head may come in pieces; a
payload is stepped over, never copied or unmasked.
Source: RFC 6455 5.2 (framing), 5.3 (masking), 5.4 (fragments), 5.5.1 (Close), 7.4 (codes).
"""

from enum import IntEnum
from typing import Final

UNBOUNDED: Final = 1 << 62
"""More messages than any piece of data can begin."""
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_OPCODE: Final = 0x0F
_CONTINUATION: Final = 0x0
_CLOSE: Final = 0x8
"""The first opcode of a control frame."""
_LENGTH_IN_2: Final = 126
_LENGTH_IN_8: Final = 127
_REASON_BYTES_MAX: Final = 123


class CloseCode(IntEnum):
    """Why the gateway ends a tunnel; registered at IANA (WebSocket Close Code Number)."""

    GOING_AWAY = 1001
    POLICY_VIOLATION = 1008
    TRY_AGAIN_LATER = 1013


class FrameReader:
    """Follows the frames of one direction.

    Attributes:
        messages: How many have begun. A fragmented one is one; control frames are none.
        saw_close: Whether a Close frame has begun.
    """

    __slots__ = (
        "_head_bytes", "_is_in_message", "_length", "_length_ends", "_payload_left", "_seen_bytes",
        "messages", "saw_close",
    )  # fmt: skip

    def __init__(self) -> None:
        self.messages = 0
        self.saw_close = False
        self._is_in_message = False
        self._seen_bytes = 0
        self._head_bytes = 2
        self._length = 0
        self._length_ends = 2
        self._payload_left = 0

    @property
    def is_between_frames(self) -> bool:
        """Whether everything so far was whole frames."""
        return not self._seen_bytes and not self._payload_left

    def read(self, data: bytes, at: int, stop: int, messages_max: int) -> int:
        """Follow ``data[at:stop]``; return up to where.

        Args:
            data: What came.
            at: Where to go on.
            stop: Where to end.
            messages_max: How many messages may begin in it; that is before the first byte of the
                next one, or at ``stop``.
        """
        last = self.messages + messages_max
        while at < stop:
            if self._payload_left:
                skipped = min(self._payload_left, stop - at)
                self._payload_left -= skipped
                at += skipped
            elif self._seen_bytes:
                self._read_further(data[at])
                at += 1
            elif self._begins_message(data[at]) and self.messages >= last:
                break
            else:
                self._read_first(data[at])
                at += 1
        return at

    def _begins_message(self, first: int) -> bool:
        """Return whether a frame begins a message; a continuation of nothing is one, not free."""
        opcode = first & _OPCODE
        return opcode < _CLOSE and not (opcode == _CONTINUATION and self._is_in_message)

    def _read_first(self, first: int) -> None:
        if self._begins_message(first):
            self.messages += 1
        opcode = first & _OPCODE
        if opcode < _CLOSE:
            self._is_in_message = not first & _FINAL
        elif opcode == _CLOSE:
            self.saw_close = True
        self._seen_bytes = 1
        self._head_bytes = 2
        self._length = 0

    def _read_further(self, byte: int) -> None:
        if self._seen_bytes == 1:
            length = byte & ~_MASKED
            extended = 2 if length == _LENGTH_IN_2 else 8 if length == _LENGTH_IN_8 else 0
            self._length = 0 if extended else length
            self._length_ends = 2 + extended
            self._head_bytes = self._length_ends + (4 if byte & _MASKED else 0)
        elif self._seen_bytes < self._length_ends:
            self._length = self._length << 8 | byte
        self._seen_bytes += 1
        if self._seen_bytes == self._head_bytes:
            self._seen_bytes = 0
            self._payload_left = self._length


def close_frame(code: CloseCode, reason: bytes, mask: bytes = b"") -> bytes:
    """Return a Close frame.

    Args:
        code: Why.
        reason: UTF-8, cut to what a control frame holds.
        mask: Four unpredictable bytes, for a frame that goes to a server (5.3); none to a client.
    """
    payload = int(code).to_bytes(2, "big") + reason[:_REASON_BYTES_MAX]
    if not mask:
        return bytes((_FINAL | _CLOSE, len(payload))) + payload
    masked = bytes(byte ^ mask[place & 3] for place, byte in enumerate(payload))
    return bytes((_FINAL | _CLOSE, _MASKED | len(payload))) + mask + masked
