"""The plans that workspaces in a database have, compared with the price lists.

Workspaces that are written by hand are compared where the files are read. A database that is away
delays the comparison: the gateway serves what it knows, and is not ready before it has compared.
Source: docs/operations.md, Change the configuration.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.config.loaded import Loaded, Settings
from gateway.config.plans_in_use import missing_plans
from gateway.config.snapshot import Snapshot
from gateway.errors import ConfigError, GatewayError
from gateway.keys.port import PlanUse
from gateway.process import wiring

AGAIN_SECONDS: Final = 5.0
"""Between two questions to a database that was away, or whose workspaces have unknown plans."""

_log = structlog.get_logger("config")

Ask = Callable[[Settings], Sequence[PlanUse]]


def ask(settings: Settings) -> Sequence[PlanUse]:
    """Return the plans in use; none where keys are written by hand. Blocking.

    Raises:
        GatewayError: the database can't be asked.
    """
    return wiring.plans_in_use(settings)


def compare(loaded: Loaded, uses: Sequence[PlanUse], now_micro: int) -> None:
    """Refuse price lists, in force now or later, that lack a plan in use.

    Raises:
        ConfigError: with a fault for each.
    """
    lists = tuple(zip(loaded.snapshot.pricings, loaded.pricing_places, strict=True))
    faults = missing_plans(lists, uses, now_micro)
    if faults:
        raise ConfigError(faults)


class PlansInForce:
    """The plans of the prices in force, for keys that are written by hand."""

    def __init__(self, snapshot: Snapshot, clock: Clock) -> None:
        self.snapshot = snapshot
        self._clock = clock

    def __call__(self) -> frozenset[str] | None:
        """Return those that all prices from now on have; None while no prices are in force."""
        now_micro = self._clock.now_micro()
        pricing = self.snapshot.pricing_at(now_micro)
        if pricing is None:
            return None
        later = [each for each in self.snapshot.pricings if each.effective_from_micro > now_micro]
        return frozenset(pricing.tiers).intersection(*(each.tiers for each in later))


class Comparison:
    """Whether the price lists in force were compared with the plans in use.

    Args:
        now_micro: The clock.
        ask_directory: Blocking; called in a thread.
    """

    def __init__(self, now_micro: Callable[[], int], ask_directory: Ask = ask) -> None:
        self._now_micro = now_micro
        self._ask = ask_directory
        self.open_question = ""
        """Why a worker is not ready: not compared yet, or a plan is missing. Empty when done."""

    def refuse_unless_complete(self, loaded: Loaded) -> None:
        """Compare a configuration before it is put in force. Blocking.

        Raises:
            GatewayError: a plan in use is missing, or the directory can't be asked.
        """
        compare(loaded, self._ask(loaded.settings), self._now_micro())

    async def begin(self, loaded: Loaded) -> bool:
        """Compare at the start; return False if the directory can't be asked now.

        Raises:
            ConfigError: a plan in use is missing.
        """
        try:
            await asyncio.to_thread(self.refuse_unless_complete, loaded)
        except ConfigError:
            raise
        except GatewayError as error:
            self.open_question = "plans in use not compared"
            _log.warning("config.not_compared", reason=error.message)
            return False
        return True

    async def repeat(
        self,
        loaded: Callable[[], Loaded],
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Ask again until the price lists in force have all plans in use."""
        told: list[str] = []
        while self.open_question:
            await wait(AGAIN_SECONDS)
            try:
                await asyncio.to_thread(self.refuse_unless_complete, loaded())
            except ConfigError as error:
                self.open_question = "plans in use are in no price list"
                faults = error.message.splitlines()
                if faults != told:
                    _log.error("config.plans_missing", faults=faults)
                told = faults
            except GatewayError:
                continue
            else:
                self.open_question = ""
                _log.info("config.compared")
