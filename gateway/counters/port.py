"""The counter store as the request sees it."""

from abc import abstractmethod
from collections.abc import Sequence

from mypy_extensions import mypyc_attr

from gateway.clock import WallClock
from gateway.rules.charge import Charge, Correction, Counts


@mypyc_attr(allow_interpreted_subclasses=True)
class CounterStore(WallClock):
    """One atomic step per charge; every call raises ``StoreUnavailable`` within its deadline."""

    @abstractmethod
    async def charge(self, charge: Charge) -> Counts:
        """Add all amounts, or none if any blocking cap would be passed.

        Raises:
            StaleTemplate: the store's now lies outside one of the template's periods.
            StoreUnavailable: no answer within the deadline, or the breaker is open.
        """
        raise NotImplementedError

    @abstractmethod
    async def correct(self, corrections: Sequence[Correction]) -> None:
        """Apply each correction once per hold id; repeating one is harmless.

        Raises:
            StoreUnavailable: not all were acknowledged; call again with the same ones.
        """
        raise NotImplementedError

    @abstractmethod
    async def read(self, tag: str, keys: Sequence[str]) -> tuple[int, ...]:
        """Return the counters' values in micro-units, 0 for a counter that does not exist."""
        raise NotImplementedError

    @abstractmethod
    def now_micro(self) -> int:
        """Return the best local estimate of the store's clock (exact for the memory store)."""
        raise NotImplementedError

    @property
    @abstractmethod
    def is_available(self) -> bool:
        """Whether the last attempt to reach the store succeeded and the breaker is closed."""
        raise NotImplementedError

    @abstractmethod
    async def start(self) -> None:
        """Connect. A store that is away does not raise: it is retried in the background."""
        raise NotImplementedError

    @abstractmethod
    async def close(self) -> None:
        """Close connections and stop background work."""
        raise NotImplementedError
