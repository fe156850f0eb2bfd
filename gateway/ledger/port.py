"""The ledger as the shipper fills it and statements read it. Blocking: call it in a thread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.rules.record import Record


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A rollup: one workspace, meter and bucket (``2026-11`` monthly, an hour's start hourly)."""

    workspace_id: str
    meter: str
    bucket: str
    requests: int
    billable_events: int
    refused: int
    repeats: int
    charged_micro: int
    charged_max_micro: int


@dataclass(frozen=True, slots=True)
class ChargedTotal:
    """What a counter must hold: the sum of charges of one workspace (and key, route) in a span."""

    workspace_id: str
    meter: str
    key_id: str
    route: str
    charged_micro: int
    events: int


class Ledger(Protocol):
    """Every method raises ``LedgerUnavailable`` when the database can't be reached."""

    def append(self, records: Sequence[Record]) -> int:
        """Insert the records that are not there yet; return how many were new."""
        ...

    def usage(
        self,
        *,
        workspace_id: str | None,
        period: str | None,
        hourly: bool = False,
        limit: int | None = None,
    ) -> Sequence[UsageRow]:
        """Return rollups, ordered by workspace, meter, bucket; all of them without a limit."""
        ...

    def events(
        self,
        *,
        workspace_id: str | None,
        period: str | None,
        after_event_id: str = "",
        limit: int = 1000,
    ) -> Sequence[Record]:
        """Return events in order of event id, for exports."""
        ...

    def known_events(self, event_ids: Sequence[str]) -> set[str]:
        """Return which of these events the ledger has."""
        ...

    def epoch(self) -> str:
        """Return what changes when this may be another ledger, or an older one, than before.

        A connection that is made anew, say: to a standby, or to a file that was put in its place.
        """
        ...

    def charged_between(
        self, start_micro: int, end_micro: int, *, meter: str
    ) -> Iterator[ChargedTotal]:
        """Return sums per workspace, key and route, from which a memory store is rebuilt."""
        ...

    def runs_since(self, start_micro: int, *, limit: int) -> Iterator[tuple[str, str, int]]:
        """Yield (workspace id, run id, occurred_at_micro) of charged runs, newest first."""
        ...

    def billing_event(self, workspace_id: str, run_id: str) -> tuple[str, int] | None:
        """Return id and ``occurred_at_micro`` of the event that a run is billed by, if any."""
        ...

    def close(self) -> None: ...
