"""Counters in this process: the embedded default. Lost at exit; ``process.recovery`` rebuilds them.

Memory is bounded: what has expired goes bit by bit as charges come in, and run ids and marks of
corrections have a largest number, beyond which the oldest are forgotten, loudly.
"""

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.clock import WallClock
from gateway.counters.port import CounterStore
from gateway.errors import StoreUnavailable
from gateway.rules.charge import Charge, Correction, CounterDelta, Counts, StaleTemplate
from gateway.rules.units import COUNT_MAX_MICRO, MICRO, UNLIMITED
from gateway.telemetry.metrics import StoreStats

_log = structlog.get_logger("counters")

PURGED_PER_CALL: Final = 32
"""Expired things dropped at a time: more than a charge creates, few enough not to be felt."""

CORRECTION_REMEMBERED_SECONDS: Final = 7 * 86_400
"""As in the Redis adapter."""

EVICTIONS_PER_LOG_LINE: Final = 10_000
"""The first eviction is logged, then every so-manieth: under pressure each charge evicts."""


@dataclass(slots=True, eq=False)
class _Counter:
    value_micro: int
    expires_at_micro: int


@dataclass(frozen=True, slots=True)
class _Claim:
    """What stands behind a run that a billable repeat has claimed: see ``Correction``.

    Attributes:
        hold_id: The repeat's.
        charged_by: The hold whose charge is counted; given back, the repeat's takes its place.
        deltas: The repeat's charge.
    """

    hold_id: str
    charged_by: str
    deltas: tuple[CounterDelta, ...]


class _Remembered:
    """Names with a value and an expiry, in order of age, at most so many."""

    __slots__ = ("_entries", "_maximum", "_what", "evicted")

    def __init__(self, what: str, maximum: int) -> None:
        self.evicted = 0
        self._entries: OrderedDict[str, tuple[str | _Claim, int]] = OrderedDict()
        self._maximum = maximum
        self._what = what

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, now_seconds: int) -> str | _Claim | None:
        """Return the value, None if it is unknown or has expired."""
        entry = self._entries.get(name)
        return entry[0] if entry is not None and entry[1] > now_seconds else None

    def add(self, name: str, value: str, expires_at_seconds: int) -> None:
        """Remember a new name as the youngest, forgetting the oldest if there are too many."""
        self._entries[name] = (value, expires_at_seconds)
        self._entries.move_to_end(name)
        if len(self._entries) > self._maximum:
            self._entries.popitem(last=False)
            self._note_eviction()

    def add_oldest(self, name: str, value: str, expires_at_seconds: int) -> None:
        """Remember a name as the oldest, unless it is known or there is no room."""
        if name in self._entries:
            return
        if len(self._entries) >= self._maximum:
            self._note_eviction()
            return
        self._entries[name] = (value, expires_at_seconds)
        self._entries.move_to_end(name, last=False)

    def replace(self, name: str, value: str | _Claim) -> None:
        """Give a known name another value; it keeps its age and expiry."""
        self._entries[name] = (value, self._entries[name][1])

    def remove(self, name: str) -> None:
        """Forget a name."""
        self._entries.pop(name, None)

    def purge(self, now_seconds: int) -> None:
        """Drop a few of the oldest if they have expired."""
        for _ in range(PURGED_PER_CALL):
            oldest = next(iter(self._entries.values()), None)
            if oldest is None or oldest[1] > now_seconds:
                return
            self._entries.popitem(last=False)

    def _note_eviction(self) -> None:
        if self.evicted % EVICTIONS_PER_LOG_LINE == 0:
            _log.warning(f"counters.{self._what}_evicted", kept=self._maximum, evicted=self.evicted)
        self.evicted += 1


class MemoryCounterStore(CounterStore):
    """The counter store of a single process.

    Args:
        clock: Its wall time is the store's clock; it may be that of another store.
        run_ids_max: How many run ids are remembered, and how many corrections.
        stats: Counted up: corrections.
    """

    def __init__(
        self, clock: WallClock, *, run_ids_max: int = 1_000_000, stats: StoreStats
    ) -> None:
        self._now_micro = clock.now_micro
        self._stats = stats
        self._counters: dict[str, _Counter] = {}
        self._expiries: list[int] = []
        """A heap of the seconds at which something expires."""
        self._expiring: dict[int, list[str]] = {}
        self._runs = _Remembered("runs", run_ids_max)
        self._corrections = _Remembered("corrections", run_ids_max)

    @property
    def runs_evicted(self) -> int:
        """Return how many run ids were forgotten early; their retries were charged again."""
        return self._runs.evicted

    async def charge(self, charge: Charge) -> Counts:
        """Add all amounts, or none. See ``CounterStore``; never suspends."""
        now_micro = self._now_micro()
        now_seconds = now_micro // MICRO
        if self._expiries and self._expiries[0] <= now_seconds:
            self._purge(now_seconds)
        run_key = charge.run_key
        is_repeat = run_key is not None and self._runs.get(run_key, now_seconds) is not None
        admitted, counters = self._judge(charge, now_micro, is_repeat=is_repeat)
        if admitted:
            self._add(charge, counters, is_repeat=is_repeat)
            if run_key is not None and not is_repeat:
                self._runs.purge(now_seconds)
                self._runs.add(run_key, charge.hold_id, charge.run_expires_at_seconds)
        counts = tuple([0 if counter is None else counter.value_micro for counter in counters])
        return Counts(admitted, is_repeat, now_micro, counts)

    def _judge(
        self, charge: Charge, now_micro: int, *, is_repeat: bool
    ) -> tuple[bool, list[_Counter | None]]:
        """Return whether all amounts fit, and the counters as far as they exist."""
        admitted = is_countable = True
        counters: list[_Counter | None] = []
        for entry, amount_micro in zip(charge.template.entries, charge.amounts_micro, strict=True):
            period = entry.period
            if not period.start_micro <= now_micro < period.end_micro:
                raise StaleTemplate(now_micro)
            counter = self._counters.get(entry.key)
            if counter is not None and counter.expires_at_micro <= now_micro:
                counter = None
            counters.append(counter)
            if not amount_micro or (is_repeat and not entry.counts_repeats):
                continue
            after_micro = (counter.value_micro if counter is not None else 0) + amount_micro
            cap_micro = entry.cap_micro
            if cap_micro is not UNLIMITED and after_micro > cap_micro:
                admitted = False
            if after_micro > COUNT_MAX_MICRO:
                is_countable = False
        if admitted and not is_countable:
            raise StoreUnavailable(  # as Redis does
                "counters.store_error",
                "a counter would be larger than a store can count",
                "see what its requests say that they cost",
            )
        return admitted, counters

    def _add(self, charge: Charge, counters: list[_Counter | None], *, is_repeat: bool) -> None:
        """Add the amounts; ``counters`` gets the ones that had to be made."""
        entries = charge.template.entries
        for index, amount_micro in enumerate(charge.amounts_micro):
            entry = entries[index]
            if not amount_micro or (is_repeat and not entry.counts_repeats):
                continue
            counter = counters[index]
            if counter is None:
                counters[index] = self._make(entry.key, amount_micro, entry.expires_at_seconds)
            else:
                counter.value_micro += amount_micro

    def _make(self, key: str, value_micro: int, expires_at_seconds: int) -> _Counter:
        """Make a counter; an expired one of that name goes."""
        counter = self._counters[key] = _Counter(value_micro, expires_at_seconds * MICRO)
        keys = self._expiring.get(expires_at_seconds)
        if keys is None:
            self._expiring[expires_at_seconds] = [key]
            heapq.heappush(self._expiries, expires_at_seconds)
        else:
            keys.append(key)
        return counter

    def _existing(self, key: str, now_micro: int) -> _Counter | None:
        counter = self._counters.get(key)
        return counter if counter is not None and counter.expires_at_micro > now_micro else None

    def _purge(self, now_seconds: int) -> None:
        """Drop a few counters of the second that expired first."""
        second = self._expiries[0]
        keys = self._expiring[second]
        for key in keys[-PURGED_PER_CALL:]:
            # A key may have been made anew since, with a later expiry.
            if key in self._counters and self._existing(key, now_seconds * MICRO) is None:
                del self._counters[key]
        del keys[-PURGED_PER_CALL:]
        if not keys:
            del self._expiring[second]
            heapq.heappop(self._expiries)

    async def correct(self, corrections: Sequence[Correction]) -> None:
        """Apply each correction once. See ``CounterStore``; never suspends."""
        now_micro = self._now_micro()
        now_seconds = now_micro // MICRO
        for correction in corrections:
            if self._corrections.get(correction.hold_id, now_seconds) is None:
                self._corrections.purge(now_seconds)
                self._corrections.add(
                    correction.hold_id, "", now_seconds + CORRECTION_REMEMBERED_SECONDS
                )
                self._correct(correction, now_micro)
        self._stats.corrections += len(corrections)

    def _correct(self, correction: Correction, now_micro: int) -> None:
        """As ``correct.lua`` does."""
        run_key, until_seconds = correction.run_key, correction.claimed_until_seconds
        if run_key is None or not (correction.release_run or until_seconds):
            self._add_deltas(correction.deltas, now_micro)
            return
        hold_id = correction.hold_id
        holder = self._runs.get(run_key, now_micro // MICRO)
        if until_seconds and holder is not None:
            if isinstance(holder, str):
                self._runs.replace(run_key, _Claim(hold_id, holder, correction.deltas))
            return
        charged_by = holder.charged_by if isinstance(holder, _Claim) else holder
        if charged_by is not None and charged_by != hold_id:
            return  # it was forgotten, and is charged by another now
        self._add_deltas(correction.deltas, now_micro)
        if until_seconds:
            if until_seconds * MICRO > now_micro:
                self._runs.add(run_key, hold_id, until_seconds)
        elif isinstance(holder, _Claim):
            self._add_deltas(holder.deltas, now_micro)
            self._runs.replace(run_key, holder.hold_id)
        else:
            self._runs.remove(run_key)

    def _add_deltas(self, deltas: Sequence[CounterDelta], now_micro: int) -> None:
        for delta in deltas:
            counter = self._existing(delta.key, now_micro)
            if counter is not None:
                value_micro = max(0, counter.value_micro + delta.delta_micro)
                counter.value_micro = min(value_micro, COUNT_MAX_MICRO)
            elif delta.delta_micro > 0 and delta.expires_at_seconds * MICRO > now_micro:
                self._make(delta.key, delta.delta_micro, delta.expires_at_seconds)

    async def read(
        self,
        tag: str,  # noqa: ARG002 - one process needs no tag to find a counter
        keys: Sequence[str],
    ) -> tuple[int, ...]:
        """Return the counters' values. See ``CounterStore``."""
        now_micro = self._now_micro()
        found = [self._existing(key, now_micro) for key in keys]
        return tuple(0 if counter is None else counter.value_micro for counter in found)

    def restore(self, key: str, value_micro: int, expires_at_seconds: int) -> None:
        """Set a counter to what the ledger and the journal say, whatever it holds now.

        Args:
            key: The counter's full name; sum what belongs to it first.
            value_micro: Micro-units, not negative.
            expires_at_seconds: Unix time; what has expired already is not restored. A counter that
                exists keeps its own.
        """
        now_micro = self._now_micro()
        counter = self._existing(key, now_micro)
        if counter is not None:
            counter.value_micro = value_micro
        elif expires_at_seconds * MICRO > now_micro:
            self._make(key, value_micro, expires_at_seconds)

    def restore_run(self, run_key: str, hold_id: str, expires_at_seconds: int) -> None:
        """Remember a run that was charged before the restart. Call with the newest first.

        A run that is known already stays as it is; restored ones count as older than all others.
        """
        if expires_at_seconds * MICRO > self._now_micro():
            self._runs.add_oldest(run_key, hold_id, expires_at_seconds)

    def now_micro(self) -> int:
        """Return the store's clock, exactly."""
        return self._now_micro()

    @property
    def is_available(self) -> bool:
        """Always: it is part of this process."""
        return True

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""
