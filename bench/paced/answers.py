"""Tells when an answer is complete: no more of HTTP and WebSocket than that takes."""

import re
from typing import Protocol

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_SHORT_MAX = 125


class Answers(Protocol):
    """What reads one connection's answers, one after the other."""

    is_right: bool
    """Whether the answer that was completed last is the one that should have come."""

    def is_complete(self, data: bytes) -> bool:
        """Take what has come; say whether the answer that is waited for ends with it."""
        ...


class HttpAnswers:
    """Answers with a length or in chunks; no pipelining."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._gathered = b""
        self.is_right = True

    def is_complete(self, data: bytes) -> bool:
        """Take what has come; say whether the answer ends with it.

        Raises:
            ValueError: that is no answer whose end can be seen.
        """
        self._gathered = gathered = self._gathered + data if self._gathered else data
        head_end = gathered.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        head = gathered[: head_end + 2]
        length = _LENGTH.search(head)
        if length:
            is_complete = len(gathered) >= head_end + 4 + int(length.group(1))
        elif _CHUNKED.search(head):
            is_complete = gathered.endswith(b"\r\n0\r\n\r\n")
        else:
            raise ValueError(f"an answer without an end: {head!r}")
        if is_complete:
            status = _STATUS.match(head)
            self.is_right = status is not None and int(status.group(1)) == self._status
            self._gathered = b""
        return is_complete


class EchoAnswers:
    """A WebSocket server that says the same, in one frame without a mask."""

    def __init__(self, payload: bytes) -> None:
        self._awaited = bytes((0x82, len(payload))) + payload
        self._gathered = b""
        self.is_right = True

    def is_complete(self, data: bytes) -> bool:
        """Take what has come; say whether the frame ends with it."""
        self._gathered += data
        if len(self._gathered) < len(self._awaited):
            return False
        self.is_right = self._gathered == self._awaited
        self._gathered = b""
        return True


def masked(payload: bytes) -> bytes:
    """Return a client's binary frame; the mask is constant, which a server can't see.

    Raises:
        ValueError: longer than a frame with a short length may be.
    """
    if len(payload) > _SHORT_MAX:
        raise ValueError("only payloads of up to 125 bytes")
    mask = b"\x11\x22\x33\x44"
    covered = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((0x82, 0x80 | len(payload))) + mask + covered
