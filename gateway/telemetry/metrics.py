"""Every metric of a worker: plain integers that components count up, exported at scrape time.

The request path only adds to integers; ``prometheus-client`` sees them when ``/metrics`` is asked.
"""

from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class StoreStats:
    """Counter store."""

    charges: int = 0
    refused: int = 0
    refused_locally: int = 0
    corrections: int = 0
    timeouts: int = 0
    errors: int = 0
    stale_templates: int = 0
    breaker_opened: int = 0
    reconnects: int = 0
    is_available: int = 1


@dataclass(slots=True)
class JournalStats:
    """Journal and corrections."""

    records: int = 0
    writes: int = 0
    write_errors: int = 0
    torn_lines: int = 0
    damage: dict[str, int] = field(default_factory=dict)
    bytes_held: int = 0
    bytes_kept: int = 0
    segments: int = 0
    corrections_pending: int = 0
    refusals_summed: int = 0
    refusals_unrecorded: int = 0


@dataclass(slots=True)
class ShipperStats:
    """Journal to ledger."""

    shipped: int = 0
    batches: int = 0
    errors: int = 0
    lag_records: int = 0
    oldest_unshipped_micro: int = 0
    ledger_went_back: int = 0
    ledger_gaps: int = 0
    processes_replaced: int = 0


@dataclass(slots=True)
class DirectoryStats:
    """Key directory."""

    hits: int = 0
    misses: int = 0
    unknown: int = 0
    lookups_refused: int = 0
    invalidations: int = 0
    errors: int = 0
    cached: int = 0
    feed_age_micro: int = 0
    refused: int = 0


@dataclass(slots=True)
class WorkerStats:
    """Connections, reloads, and requests that no route answered."""

    connections_open: int = 0
    connections_accepted: int = 0
    connections_refused: int = 0
    tunnels_open: int = 0
    tunnels_ended: dict[str, int] = field(default_factory=dict)
    tunnel_slices: int = 0
    requests_in_flight: int = 0
    parse_errors: int = 0
    forwarded_for_unreadable: int = 0
    unrouted: dict[int, int] = field(default_factory=dict)
    unrouted_refused: dict[str, int] = field(default_factory=dict)
    reloads: int = 0
    reload_errors: int = 0
    reload_refused: int = 0
    certificate_refused: int = 0
    config_version: int = 0
    overage_entered: int = 0
    access_log_dropped: int = 0
    upstream_connections_opened: int = 0
    upstream_connect_errors: int = 0
    upstream_retries: int = 0
    upstream_ejections: int = 0
    upstream_circuit_openings: int = 0
    upstream_resolve_errors: int = 0
    upstream_endpoints_ejected: dict[str, int] = field(default_factory=dict)
    upstream_endpoints_unwell: dict[str, int] = field(default_factory=dict)
    upstream_circuits_open: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Stats:
    """All of a worker's numbers."""

    store: StoreStats = field(default_factory=StoreStats)
    journal: JournalStats = field(default_factory=JournalStats)
    shipper: ShipperStats = field(default_factory=ShipperStats)
    directory: DirectoryStats = field(default_factory=DirectoryStats)
    worker: WorkerStats = field(default_factory=WorkerStats)


LATENCY_BOUNDS_MICRO: Final[tuple[int, ...]] = (
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
)  # fmt: skip
