"""A loop of nothing but Python: what it takes tells how fast this machine is at this moment.

It does what the request path does (look-ups, formatting, small objects, a hash) and has nothing of
the gateway in it: a change of the gateway can't move it, a slower machine moves both.
"""

from hashlib import sha256
from time import thread_time

NAMES = [b"Host", b"Accept", b"User-Agent", b"Authorization", b"X-Request-Id", b"Content-Type"]
ROUNDS_PER_LOOP = 20


class _Field:
    __slots__ = ("is_known", "name", "value")

    def __init__(self, name: bytes, value: int) -> None:
        self.name = name
        self.value = value
        self.is_known = False


def calibration_seconds(loops: int) -> float:
    """Return how long so many loops took."""
    started = thread_time()
    for _ in range(loops):
        _loop()
    return thread_time() - started


def _loop() -> int:
    known: dict[bytes, int] = {}
    total = 0
    for number in range(ROUNDS_PER_LOOP):
        fields = [_Field(name, number) for name in NAMES]
        for field in fields:
            known[field.name] = known.get(field.name, 0) + field.value
            field.is_known = field.name.lower() not in known
        head = b"".join([b"%b: %d\r\n" % (field.name, field.value) for field in fields])
        total += len(head) + sum(field.is_known for field in fields)
    return total + sha256(b"%d" % total).digest()[0]
