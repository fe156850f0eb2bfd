"""Where ``explain`` reads present counts: the counter store, or the ledger where there is none.

Whether a run was charged before is read from the ledger in both cases: it knows by which event.

The memory store lives inside the gateway's process; from outside, its quotas are known from the
ledger (as they are rebuilt from it) and its short windows are not known.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from gateway.config.snapshot import Snapshot
from gateway.control.explain import CountReader, RunReader
from gateway.control.quotas import quotas_of
from gateway.counters.port import CounterStore
from gateway.ledger.port import ChargedTotal, Ledger
from gateway.rules.charge import ChargeTemplate, Entry
from gateway.rules.limits import LimitKind, Scope
from gateway.rules.units import MICRO


def from_store(store: CounterStore) -> CountReader:
    """Return a reader of a store that several processes share."""

    async def read(template: ChargeTemplate) -> Sequence[int | None]:
        return await store.read(template.tag, [entry.key for entry in template.entries])

    return read


def from_ledger(ledger: Ledger, snapshot: Snapshot, now_micro: int, *, key_id: str) -> CountReader:
    """Return a reader of what the ledger has been told, a little behind the running gateway.

    Args:
        ledger: The ledger.
        snapshot: Says which routes charge a quota.
        now_micro: When.
        key_id: Whose counters the limits per key are; empty if no key was named.
    """
    free = {quota.ladder: quota.free_routes for quota in quotas_of(snapshot, now_micro)}

    def charged(template: ChargeTemplate) -> list[int | None]:
        return [
            _charged(ledger, entry, template.tag, key_id, free.get(entry.ladder, frozenset()))
            for entry in template.entries
        ]

    async def read(template: ChargeTemplate) -> Sequence[int | None]:
        return await asyncio.to_thread(charged, template)

    return read


def billed_runs(open_ledger: Callable[[], AbstractContextManager[Ledger]]) -> RunReader:
    """Return a reader of what the ledger was told of runs; it is opened when a run is asked for."""

    def look_up(workspace_id: str, run_id: str) -> tuple[str, int] | None:
        with open_ledger() as ledger:
            return ledger.billing_event(workspace_id, run_id)

    async def read(workspace_id: str, run_id: str) -> tuple[str, int] | None:
        return await asyncio.to_thread(look_up, workspace_id, run_id)

    return read


def _charged(
    ledger: Ledger, entry: Entry, workspace_id: str, key_id: str, free_routes: frozenset[str]
) -> int | None:
    ladder = entry.ladder
    if ladder.kind is LimitKind.RATE or ladder.scope is Scope.ADDRESS:
        return None
    return sum(
        total.events * MICRO if ladder.counts_calls else total.charged_micro
        for total in ledger.charged_between(
            entry.period.start_micro, entry.period.end_micro, meter=ladder.meter
        )
        if total.workspace_id == workspace_id
        and total.route not in free_routes
        and _is_counted(entry, total, key_id)
    )


def _is_counted(entry: Entry, total: ChargedTotal, key_id: str) -> bool:
    match entry.ladder.scope:
        case Scope.KEY:
            return total.key_id == key_id
        case Scope.ROUTE:
            return f":route:{total.route}:" in entry.key
        case _:
            return True
