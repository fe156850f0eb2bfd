"""Refusals that are alike share a record: a flood of them must not fill journal and ledger.

What the gateway answers by itself and no customer pays for is grouped by everything that stands in
its record and matters, and by the second. The first ``ALONE_MAX`` of a group have own records;
those that follow are added to one record, which is written when the second is over. No answer waits
for it: a kill loses at most that second. So the counts of all records add up to the requests.

Does not own: which refusals may be summed, what stands in the record (``books``).
Source: docs/semantics.md, "Refusals in the books"; requirement X6.
"""

from typing import Final

from gateway.metering.recorder import Recorder, Waiter
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import JournalStats

ALONE_MAX: Final = 10
"""So many of a group have records of their own in a second."""
VARIANTS_MAX: Final = 32
"""So many methods and costs of one key, route and reason are told apart in a second: a caller
chooses both. What comes with others is one further group."""
GROUPS_MAX: Final = 10_000
"""So many groups a worker holds, some 10 MB; one more, and all are written before their time."""

Owner = tuple[object, ...]
"""What a caller can't choose freely of that by which refusals are alike."""
Quantities = tuple[tuple[str, int], ...]
"""Meter and micro-units that a request asked for, sorted."""


class Group(Waiter):
    """Refusals that are alike, of one second.

    Attributes:
        second: Since the Unix epoch.
        by_store: By the store's clock rather than this machine's.
        is_mixed: They differ in method or cost.
        seen: How many came; of ``is_mixed`` ones none has a record of its own.
        record: Stands for those that are summed; None as long as there is none.
        is_over: No more may be added.
    """

    def __init__(
        self,
        second: int,
        by_store: bool,  # noqa: FBT001 - parallel to the attributes
        is_mixed: bool,  # noqa: FBT001
        stats: JournalStats,
    ) -> None:
        self.second = second
        self.by_store = by_store
        self.is_mixed = is_mixed
        self.seen = ALONE_MAX if is_mixed else 0
        self.record: Record | None = None
        self.is_over = False
        self._stats = stats

    def begin(self, record: Record, event_id: str) -> None:
        """Let the first of those that are summed stand for all of them.

        Args:
            record: Its own.
            event_id: New: its own one was told to its caller.
        """
        record.event_id = event_id
        record.run_id = None
        if self.is_mixed:
            record.quantities_micro = dict.fromkeys(record.quantities_micro, 0)
        self.record = record
        self._stats.refusals_summed += 1

    def add(self, bytes_in: int, bytes_out: int, latency_micro: int) -> None:
        """Add another one."""
        record = self.record
        assert record is not None
        record.count += 1
        record.bytes_in += bytes_in
        record.bytes_out += bytes_out
        record.latency_micro += latency_micro
        self._stats.refusals_summed += 1

    def release(self, written: bool) -> None:  # noqa: FBT001 - the journal's callback
        """Count what could not be written; its callers have their answers."""
        if not written and self.record is not None:
            self._stats.refusals_unrecorded += self.record.count


class RefusalSums:
    """The groups of a worker's present seconds.

    Args:
        journal: Where their records go.
        stats: Counted up.
        groups_max: How many groups are held.
    """

    def __init__(
        self, journal: Recorder, stats: JournalStats, groups_max: int = GROUPS_MAX
    ) -> None:
        self._journal = journal
        self._stats = stats
        self._groups_max = groups_max
        self._groups: dict[tuple[int, bool, Owner, str, Quantities], Group] = {}
        self._variants: dict[tuple[int, Owner], int] = {}
        self._swept_at = (0, 0)

    def group(
        self,
        second: int,
        by_store: bool,  # noqa: FBT001 - see ``Group``
        owner: Owner,
        method: str,
        quantities: Quantities,
    ) -> Group:
        """Return the group that a refusal belongs to; it is not counted yet."""
        group = self._groups.get((second, by_store, owner, method, quantities))
        return group or self._begin(second, by_store, owner, method, quantities)

    def _begin(
        self,
        second: int,
        by_store: bool,  # noqa: FBT001
        owner: Owner,
        method: str,
        quantities: Quantities,
    ) -> Group:
        variants = self._variants.get((second, owner), 0)
        is_mixed = variants >= VARIANTS_MAX
        if is_mixed:
            method, quantities = "", tuple([(meter, 0) for meter, _ in quantities])
            known = self._groups.get((second, by_store, owner, method, quantities))
            if known is not None:
                return known
        if len(self._groups) >= self._groups_max:
            self.flush()
        self._variants[second, owner] = variants + 1
        group = Group(second, by_store, is_mixed, self._stats)
        self._groups[second, by_store, owner, method, quantities] = group
        return group

    def sweep(self, wall_micro: int, store_micro: int) -> None:
        """Write down the groups whose second is over.

        Args:
            wall_micro: Now, by this machine's clock.
            store_micro: Now, by the store's.
        """
        now = (wall_micro // MICRO, store_micro // MICRO)
        if not self._groups or now == self._swept_at:
            return
        self._swept_at = now
        for alike, group in list(self._groups.items()):
            # The store's clock is an estimate here, so a group may be ahead of it; one that is far
            # ahead was begun before the clock was put back.
            if not 0 <= group.second - now[group.by_store] <= 1:
                del self._groups[alike]
                self._variants.pop((group.second, alike[2]), None)
                self._write(group)

    def flush(self) -> None:
        """Write down all groups: the worker stops, or there are too many."""
        groups, self._groups = self._groups, {}
        self._variants.clear()
        for group in groups.values():
            self._write(group)

    def _write(self, group: Group) -> None:
        group.is_over = True
        if group.record is None:
            return
        if self._journal.is_available:
            self._journal.append(group.record, group)
        else:
            group.release(written=False)
