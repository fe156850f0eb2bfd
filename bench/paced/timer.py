"""A clock's alarm as a file descriptor, in nanoseconds: epoll itself only knows milliseconds."""

import ctypes
import os
from typing import Self

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NON_BLOCKING = 0o4000
_SECOND = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """Linux' timerfd(2) on the clock of ``time.monotonic_ns``."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NON_BLOCKING)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        os.close(self.descriptor)

    def ring_at(self, at_ns: int) -> None:
        """Become readable then, at once if that is over; unset what was set before."""
        value = _Timespec(*divmod(max(at_ns, 1), _SECOND))
        new = _Itimerspec(_Timespec(0, 0), value)
        if self._libc.timerfd_settime(self.descriptor, _ABSOLUTE, ctypes.byref(new), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
