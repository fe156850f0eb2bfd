"""At the start: a memory store learns again what was charged, so that no quota comes back for free.

What a counter holds is the sum of what was charged in its period. The ledger knows it once the
journal has been shipped; what the ledger refused stands in the journal still. With Redis the store
remembers by itself, and only the corrections that it never acknowledged are sent again
(``Corrections.start(replay=True)``).

Source: design sections 7 and 13; requirements A5, A7.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from gateway.config.snapshot import Snapshot
from gateway.control.quotas import Quota, quotas_of
from gateway.errors import LedgerUnavailable
from gateway.ledger.port import ChargedTotal, Ledger
from gateway.metering.journal import Journal
from gateway.metering.shipper import Shipper
from gateway.rules.charging import REQUESTS_METER, counter_key, run_key
from gateway.rules.record import Record
from gateway.rules.settlement import as_billed
from gateway.rules.units import MICRO
from gateway.rules.windows import Period, period_at

_log = structlog.get_logger("recovery")

_SHIP_SECONDS: Final = 60.0
"""Patience with a ledger that starts together with the gateway."""
_RUNS_MAX: Final = 500_000
"""Newest run ids that are restored: some 100 MB. Older ones could be charged again."""
_LEFT_BEHIND_MAX: Final = 100_000
"""Records that the ledger refuses; more of them than that mean that it is the ledger's fault."""


class RestorableStore(Protocol):
    """A counter store that forgot everything when the process ended."""

    def restore(self, key: str, value_micro: int, expires_at_seconds: int) -> None:
        """Set a counter."""
        ...

    def restore_run(self, run_key: str, hold_id: str, expires_at_seconds: int) -> None:
        """Remember that a run was charged; called with the newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter as it must be again."""

    value_micro: int
    expires_at_seconds: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was charged: its key in the store, and when it is forgotten."""

    key: str
    expires_at_seconds: int


@dataclass(slots=True)
class Rebuilt:
    """What a memory store is to be given back."""

    counters: dict[str, Counter] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)


async def rebuild_memory(
    store: RestorableStore,
    ledger: Ledger,
    journal: Journal,
    shipper: Shipper,
    snapshot: Snapshot,
    now_micro: int,
) -> Rebuilt:
    """Give a memory store its counters and runs back, before the first request.

    Args:
        store: Empty.
        ledger: Asked in a thread.
        journal: Opened.
        shipper: Not started; brings the journal to the ledger first, so that nothing counts twice.
        snapshot: Whose quotas.
        now_micro: The instant whose periods are rebuilt, by the store's clock.

    Raises:
        LedgerUnavailable: the ledger can't be asked, or does not take what the journal holds: hard
            caps can't be trusted yet.
    """
    await _ship_backlog(journal, shipper)
    rebuilt = await asyncio.to_thread(compute, ledger, journal, snapshot, now_micro)
    for key, counter in rebuilt.counters.items():
        store.restore(key, counter.value_micro, counter.expires_at_seconds)
    for run in rebuilt.runs:
        # No hold: these runs are settled, no correction will ever release them.
        store.restore_run(run.key, "", run.expires_at_seconds)
    _log.info("recovery.memory_rebuilt", counters=len(rebuilt.counters), runs=len(rebuilt.runs))
    return rebuilt


async def _ship_backlog(journal: Journal, shipper: Shipper) -> None:
    """Ship for as long as it gets on: what is not shipped is not counted.

    Raises:
        LedgerUnavailable: it does not, and more is left than the journal is searched for.
    """
    before = journal.unshipped_records
    while not await shipper.flush(_SHIP_SECONDS):
        left = journal.unshipped_records
        if left >= before:
            break
        _log.info("recovery.shipping", left=left)
        before = left
    await shipper.rest()  # else what it brings were counted in both places, or in none
    if journal.unshipped_records > _LEFT_BEHIND_MAX:
        raise LedgerUnavailable(
            "recovery.backlog",
            f"{journal.unshipped_records} records can't be brought to the ledger",
            "counters would begin too low: see the log for what the ledger says, then start again",
        )


def compute(ledger: Ledger, journal: Journal, snapshot: Snapshot, now_micro: int) -> Rebuilt:
    """Return what the store must hold at an instant. Blocking.

    Raises:
        LedgerUnavailable: the ledger can't be asked.
        OSError: the journal can't be read.
    """
    rebuilt = Rebuilt()
    pricing = snapshot.pricing_at(now_micro)
    if pricing is None:
        return rebuilt
    retention_seconds = pricing.meter.run_retention_seconds
    left_behind = _with_claims(
        ledger,
        _not_in(ledger, journal.reader.read_unshipped(_LEFT_BEHIND_MAX).records),
        retention_seconds * MICRO,
    )
    asked: dict[tuple[Period, str], list[ChargedTotal]] = {}
    for quota in quotas_of(snapshot, now_micro):
        ladder = quota.ladder
        period = period_at(ladder.window, now_micro)
        totals = asked.get((period, ladder.meter))
        if totals is None:
            totals = asked[period, ladder.meter] = [
                *ledger.charged_between(period.start_micro, period.end_micro, meter=ladder.meter),
                *_totals_of(left_behind, period, ladder.meter),
            ]
        for key, value_micro in _counts(quota, period, totals).items():
            known = rebuilt.counters.get(key)
            if known is None or known.value_micro < value_micro:
                rebuilt.counters[key] = Counter(
                    value_micro, period.end_micro // MICRO + ladder.retention_seconds
                )
    rebuilt.runs = list(_runs(ledger, left_behind, now_micro, retention_seconds))
    return rebuilt


def _not_in(ledger: Ledger, records: Sequence[Record]) -> list[Record]:
    """Return the records that the ledger lacks, each once, however often the journal has it.

    Of a batch it may have taken the half.
    """
    by_id = {record.event_id: record for record in records}
    known = ledger.known_events(list(by_id))
    return [record for event_id, record in by_id.items() if event_id not in known]


def _with_claims(ledger: Ledger, records: Sequence[Record], retention_micro: int) -> list[Record]:
    """Judge repeats that claim their run as the ledger would: what no other try is billed for."""
    billed = {(one.workspace_id, one.run_id) for one in records if one.billable}
    judged = []
    for record in records:
        run = (record.workspace_id or "", record.run_id or "")
        if not record.claimed_reason or run in billed:
            judged.append(record)
            continue
        holder = ledger.billing_event(*run)
        if holder is None or abs(record.occurred_at_micro - holder[1]) >= retention_micro:
            billed.add(run)
            judged.append(as_billed(record))
    return judged


def _counts(quota: Quota, period: Period, totals: Iterable[ChargedTotal]) -> dict[str, int]:
    """Return the values of one quota's counters, of all workspaces, by key."""
    ladder = quota.ladder
    by_calls = ladder.counts_calls or ladder.meter == REQUESTS_METER
    counts: dict[str, int] = {}
    for total in totals:
        value_micro = total.events * MICRO if by_calls else total.charged_micro
        if total.route in quota.free_routes or not value_micro:
            continue
        key = counter_key(
            ladder, total.workspace_id, period, key_id=total.key_id, route=total.route
        )
        counts[key] = counts.get(key, 0) + value_micro
    return {key: value_micro for key, value_micro in counts.items() if value_micro > 0}


def _totals_of(records: Sequence[Record], period: Period, meter: str) -> Iterator[ChargedTotal]:
    """Yield what records that the ledger does not have add to its totals."""
    for record in records:
        charged_micro = record.charged_micro.get(meter, 0)
        counts = charged_micro > 0 or meter == REQUESTS_METER
        is_inside = period.start_micro <= record.occurred_at_micro < period.end_micro
        if record.workspace_id and record.billable and not record.repeat and counts and is_inside:
            yield ChargedTotal(
                workspace_id=record.workspace_id,
                meter=meter,
                key_id=record.key_id or "",
                route=record.route or "",
                charged_micro=charged_micro,
                events=1,
            )


def _runs(
    ledger: Ledger, left_behind: Sequence[Record], now_micro: int, retention_seconds: int
) -> Iterator[Run]:
    """Yield charged runs, newest first."""
    for record in reversed(left_behind):
        if record.workspace_id and record.run_id and record.billable and not record.repeat:
            yield _run(
                record.workspace_id, record.run_id, record.occurred_at_micro, retention_seconds
            )
    since_micro = now_micro - retention_seconds * MICRO
    for workspace_id, run_id, at_micro in ledger.runs_since(since_micro, limit=_RUNS_MAX):
        yield _run(workspace_id, run_id, at_micro, retention_seconds)


def _run(workspace_id: str, run_id: str, at_micro: int, retention_seconds: int) -> Run:
    return Run(run_key(workspace_id, run_id), at_micro // MICRO + retention_seconds)
