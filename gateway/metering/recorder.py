"""The journal as the request sees it.

Classes and no ``typing.Protocol``: compiled code calls them without a look-up.
"""

from abc import abstractmethod
from collections.abc import Callable

from mypy_extensions import mypyc_attr, trait

from gateway.rules.record import Record


@trait
class Waiter:
    """Who waits for a record to be safe."""

    @abstractmethod
    def release(self, written: bool) -> None:  # noqa: FBT001 - said once, of one thing
        """Learn, once, whether the record is kept. False: the answer must not be finished."""
        raise NotImplementedError


class Callback(Waiter):
    """A function that waits for a record."""

    def __init__(self, released: Callable[[bool], None]) -> None:
        self._released = released

    def release(self, written: bool) -> None:  # noqa: FBT001 - see there
        """Call it."""
        self._released(written)


@mypyc_attr(allow_interpreted_subclasses=True)
class Recorder:
    """Where records go."""

    @property
    @abstractmethod
    def is_available(self) -> bool:
        """Whether new requests may begin."""
        raise NotImplementedError

    @abstractmethod
    def append(self, record: Record, waiter: Waiter) -> None:
        """Take a record; its waiter is told once whether it is safe.

        Args:
            record: Not to be changed any more.
            waiter: Released within a tick, or after the fsync if one is due.
        """
        raise NotImplementedError
