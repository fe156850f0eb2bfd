"""The worker's memory in huge pages where it is densely used: fewer addresses to translate.

A request touches hundreds of places all over a heap of tens of megabytes, with the kernel and other
processes in between; in a virtual machine each translation is two walks. Linux joins 512 small ones
to a huge page when asked to, which needs no privilege. Where it doesn't (another system, an older
kernel) everything stays as it was.
Source: madvise(2), MADV_COLLAPSE; docs/decisions/0017-huge-pages.md.
"""

import asyncio
import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HUGE_BYTES: Final = 2 << 20
"""A huge page of x86-64, and of arm64 with small pages of 4 KB."""
SMALL_BYTES: Final = 4096
EVERY_SECONDS: Final = 60.0
"""How often memory that came to use since is looked at."""
_DENSE: Final = HUGE_BYTES // SMALL_BYTES * 3 // 4
"""So many small pages must be in use: joining them may cost a third more memory, not all of it."""
_LOWEST_BIT: Final = bytes(value & 1 for value in range(256))
"""The others mean nothing (mincore(2))."""
_MADV_COLLAPSE: Final = 25
_MAPS: Final = Path("/proc/self/maps")
_SWITCH: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")


async def keep_joined() -> None:
    """Join what is densely used, now and every minute, in a thread, until cancelled."""
    while True:
        await asyncio.to_thread(join_pages)
        await asyncio.sleep(EVERY_SECONDS)


def join_pages() -> int:
    """Have densely used memory of this process put into huge pages; return how many it has in them.

    What is in huge pages already stays and is counted. Blocking: each page joined is copied, which
    takes milliseconds; the interpreter's lock is not held meanwhile.
    """
    if not _can_join():
        return 0
    libc = ctypes.CDLL(None)
    in_use = (ctypes.c_ubyte * (HUGE_BYTES // SMALL_BYTES))()
    joined = 0
    for start in candidates(_MAPS.read_text("utf-8")):
        address, length = ctypes.c_void_p(start), ctypes.c_size_t(HUGE_BYTES)
        if libc.mincore(address, length, in_use) or not is_dense(bytes(in_use)):
            continue
        joined += libc.madvise(address, length, ctypes.c_int(_MADV_COLLAPSE)) == 0
    return joined


def _can_join() -> bool:
    """Return whether there are huge pages, and the system's owner has not said ``never``.

    The kernel would join them then too: that switch is over what it does of its own accord.
    """
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    return _MAPS.exists() and _SWITCH.exists() and "[never]" not in _SWITCH.read_text("ascii")


def candidates(maps: str) -> Iterator[int]:
    """Yield the address of each whole huge page within private, writable memory without a file.

    Args:
        maps: The text of ``/proc/self/maps`` (proc(5)).
    """
    for line in maps.splitlines():
        span, access, _offset, _device, inode, *name = line.split(maxsplit=5)
        of_a_heap = not name or name[0] == "[heap]" or name[0].startswith("[anon")
        if access != "rw-p" or inode != "0" or not of_a_heap:
            continue
        begin, end = (int(text, 16) for text in span.split("-"))
        first = -(-begin // HUGE_BYTES) * HUGE_BYTES
        yield from range(first, end - HUGE_BYTES + 1, HUGE_BYTES)


def is_dense(in_use: bytes) -> bool:
    """Return whether enough of a huge page is in use, by mincore(2)'s bytes for its small pages."""
    return in_use.translate(_LOWEST_BIT).count(1) >= _DENSE
