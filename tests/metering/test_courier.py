"""A carrier that blocks is asked from an event loop, which goes on meanwhile."""

import asyncio
import threading
from pathlib import Path

from gateway.metering.carrier import Carried, Load
from gateway.metering.courier import ThreadCourier
from gateway.metering.journal_format import Position

LOAD = Load(Path("journal"), [], Position(1, 2), limit=3)


class Slow:
    """A carrier that takes until it is told to go on."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.is_closed = False

    def carry(self, load: Load) -> Carried:
        assert self.may_go_on.wait(10)
        return Carried(load.position, load.limit, 0)

    def close(self) -> None:
        self.is_closed = True


async def test_the_loop_goes_on_while_a_batch_is_carried() -> None:
    carrier = Slow()
    courier = ThreadCourier(carrier)
    asked = asyncio.ensure_future(courier.carry(LOAD))
    await asyncio.sleep(0)
    carrier.may_go_on.set()  # whoever sets it is the loop that would else be blocked
    assert await asked == Carried(Position(1, 2), 3, 0)
    await courier.close()
    assert carrier.is_closed
