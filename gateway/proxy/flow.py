"""Backpressure between two transports: a side that writes too fast is not read from.

Each side pauses the other's reading while its own write buffer is above the high-water mark, so a
stream holds at most one such buffer per direction.
"""

import asyncio
import fcntl
import os
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import Final

WRITE_HIGH_WATER_BYTES: Final = 256 * 1024
"""Bytes that may wait in a transport's write buffer: enough to keep a fast link busy between two
turns of the loop, small enough that ten thousand slow readers fit in memory."""
BUFFER_HIGH_WATER_BYTES: Final = 64 * 1024
"""Bytes of a body that wait before its receiver is known (uvloop reads at most 256 KiB at once)."""

_READ_BYTES: Final = 64 * 1024

_NO_LINGER: Final = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close at once, and let the kernel drop what it still holds for a peer that does not read.

    Otherwise the kernel would go on delivering it, some megabytes a connection, at the peer's pace.
    """
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
        )
    transport.abort()


def undelivered_bytes(transport: asyncio.Transport) -> int:
    """Return how many bytes the other side's kernel has not acknowledged yet.

    Where the system can't tell (it is Linux that does), it is what has not reached our own kernel.
    """
    held = bytearray(4)
    with suppress(OSError, AttributeError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, held)
    return transport.get_write_buffer_size() + int.from_bytes(held, sys.byteorder)


def left_unread(transport: asyncio.Transport, bytes_max: int) -> list[bytes]:
    """Return what had come over a connection before writing to it failed, up to a bound.

    The loop gives a connection up at the first failed write, whatever there is to be read. What
    is encrypted can't be read any more.
    """
    broken = transport.get_extra_info("socket")
    if broken is None or transport.get_extra_info("ssl_object") is not None:
        return []
    pieces: list[bytes] = []
    try:
        with socket.socket(fileno=os.dup(broken.fileno())) as sock:
            sock.settimeout(0)
            while bytes_max > 0 and (data := sock.recv(min(_READ_BYTES, bytes_max))):
                pieces.append(data)
                bytes_max -= len(data)
    except OSError:
        pass
    return pieces


class Reading:
    """The right to read from a transport, held back for several independent reasons."""

    __slots__ = ("_reasons", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reasons: set[str] = set()

    @property
    def is_paused(self) -> bool:
        """Whether somebody holds it back."""
        return bool(self._reasons)

    def pause(self, reason: str) -> None:
        """Stop reading until every reason is gone."""
        if not self._reasons and not self._transport.is_closing():
            self._transport.pause_reading()
        self._reasons.add(reason)

    def resume(self, reason: str) -> None:
        """Drop one reason; reading goes on when it was the last."""
        if reason not in self._reasons:
            return
        self._reasons.discard(reason)
        if not self._reasons and not self._transport.is_closing():
            self._transport.resume_reading()
