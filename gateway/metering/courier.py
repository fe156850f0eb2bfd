"""Between the shipper on the event loop and a carrier, which blocks."""

import asyncio
from typing import Protocol

from gateway.metering.carrier import Carried, Carrier, Load


class Courier(Protocol):
    """Has one batch at a time carried; the shipper waits for the answer before it asks again.

    Attributes:
        replaced: How often what carries had to be replaced.
    """

    replaced: int

    async def carry(self, load: Load) -> Carried:
        """See ``Carrier``. Whoever cancels it may only close afterwards.

        Raises:
            GatewayError: the ledger can't be opened: call again later.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class ThreadCourier:
    """Implements ``Courier`` with a carrier in a thread of this process."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.replaced = 0

    async def carry(self, load: Load) -> Carried:
        """See ``Courier``."""
        return await asyncio.to_thread(self._carrier.carry, load)

    async def close(self) -> None:
        """See ``Courier``."""
        await asyncio.to_thread(self._carrier.close)
