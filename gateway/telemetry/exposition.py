"""What ``/metrics`` says: every family's name, kind, help and labels, in one file.

Rendered by ``prometheus-client`` when asked; the request path only counts integers. The page
docs/reference/metrics.md is generated from here.
Source: requirements B15, C13, D14, E10; EXAMPLES conventions (metrics end in their unit).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.rules.units import MICRO
from gateway.telemetry.metrics import LATENCY_BOUNDS_MICRO, Stats


class RouteNumbers(Protocol):
    """What is read of a route's counters (``config.snapshot.RouteCounters``)."""

    @property
    def by_status(self) -> Mapping[int, int]:
        """Answers by status."""

    @property
    def refused(self) -> Mapping[str, int]:
        """Refusals by code."""

    @property
    def latency_buckets(self) -> Sequence[int]:
        """Requests per bound of ``LATENCY_BOUNDS_MICRO``, not cumulative; the last has none."""

    @property
    def latency_sum_micro(self) -> int:
        """Sum of all durations."""

    @property
    def requests(self) -> int:
        """Requests that ended."""

    @property
    def unenforced(self) -> int:
        """Requests let through while the store was away."""

    @property
    def unsettled(self) -> int:
        """Billed requests whose answers did not tell the actual cost."""

    @property
    def bytes_in(self) -> int:
        """Request body bytes."""

    @property
    def bytes_out(self) -> int:
        """Response body bytes."""


RouteSource = Callable[[], Iterable[tuple[str, RouteNumbers]]]
"""Gives name and counters of every route of the configuration in force."""

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family as documented; counters get ``_total`` when rendered."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def sample_name(self) -> str:
        """Return the name that a query uses."""
        match self.kind:
            case "counter":
                return f"{self.name}_total"
            case "histogram":
                return f"{self.name}_bucket"
            case "info":
                return f"{self.name}_info"
            case "gauge":
                return self.name


REQUESTS: Final = Family(
    "gateway_requests", "counter", "Requests answered, by route and status.", ("route", "status")
)
DURATION: Final = Family(
    "gateway_request_duration_seconds",
    "histogram",
    "Time from a request's whole head to the last byte of its answer, by route.",
    ("route",),
)
REFUSALS: Final = Family(
    "gateway_refusals",
    "counter",
    "Requests that the gateway itself answered, by route and problem code. The route is empty "
    "where none was entered: bad HTTP, no such path or method, a body larger than the route takes, "
    "a journal that takes nothing.",
    ("route", "code"),
)
UNENFORCED: Final = Family(
    "gateway_unenforced_requests",
    "counter",
    "Requests let through uncounted because the counter store was away and the route fails open.",
    ("route",),
)
UNSETTLED: Final = Family(
    "gateway_unsettled_requests",
    "counter",
    "Billed requests whose answer did not tell the actual cost that the route's settle looks for: "
    "what was reserved stands.",
    ("route",),
)
BYTES_IN: Final = Family(
    "gateway_request_body_bytes",
    "counter",
    "Body bytes received from clients, without heads and the framing of chunks.",
    ("route",),
)
BYTES_OUT: Final = Family(
    "gateway_response_body_bytes",
    "counter",
    "Body bytes sent to clients, without heads and the framing of chunks.",
    ("route",),
)
UNROUTED: Final = Family(
    "gateway_unrouted_requests",
    "counter",
    "Requests with a whole head answered before a route was entered, by status.",
    ("status",),
)
ENDPOINTS_EJECTED: Final = Family(
    "gateway_upstream_endpoints_ejected",
    "gauge",
    "Endpoints that are ejected now, those on trial included, by upstream.",
    ("upstream",),
)
ENDPOINTS_UNWELL: Final = Family(
    "gateway_upstream_endpoints_unwell",
    "gauge",
    "Endpoints that fail their health checks and are left alone, by upstream that has any.",
    ("upstream",),
)
TUNNELS_ENDED: Final = Family(
    "gateway_tunnels_ended",
    "counter",
    "Tunnels that the gateway ended: duration, idle, half_close, drain, or a refusal's code.",
    ("reason",),
)
JOURNAL_DAMAGE: Final = Family(
    "gateway_journal_damage",
    "counter",
    "What was found damaged in the journal's folder, by kind; each has an event in the log.",
    ("kind",),
)
CIRCUITS_OPEN: Final = Family(
    "gateway_upstream_circuit_open",
    "gauge",
    "Whether an upstream's circuit refuses requests (1), by upstream.",
    ("upstream",),
)
BUILD: Final = Family("gateway_build", "info", "Version of the running gateway.", ("version",))

ROUTE_FAMILIES: Final = (
    REQUESTS, DURATION, REFUSALS, UNENFORCED, UNSETTLED, BYTES_IN, BYTES_OUT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number(Family):
    """A family without labels, read from the worker's statistics."""

    read: Callable[[Stats], float] = lambda _stats: 0.0


NUMBERS: Final = (
    Number("gateway_store_charges", "counter",
           "Charges that the counter store decided; repeated refusals and what passed or was "
           "refused while it was away are not among them.",
           read=lambda s: s.store.charges),
    Number("gateway_store_refused_charges", "counter",
           "Charges that the counter store refused; part of gateway_store_charges_total.",
           read=lambda s: s.store.refused),
    Number("gateway_store_refused_locally", "counter",
           "Charges refused from this worker's memory of an exhausted policy, without the store.",
           read=lambda s: s.store.refused_locally),
    Number("gateway_store_corrections", "counter", "Corrections that the store acknowledged.",
           read=lambda s: s.store.corrections),
    Number("gateway_store_timeouts", "counter", "Store calls that passed their deadline.",
           read=lambda s: s.store.timeouts),
    Number("gateway_store_errors", "counter", "Store calls that failed otherwise.",
           read=lambda s: s.store.errors),
    Number("gateway_store_stale_templates", "counter",
           "Charges rebuilt because a period had ended by the store's clock.",
           read=lambda s: s.store.stale_templates),
    Number("gateway_store_breaker_openings", "counter", "Times the store's breaker opened.",
           read=lambda s: s.store.breaker_opened),
    Number("gateway_store_reconnects", "counter", "Times the store's connection was made again.",
           read=lambda s: s.store.reconnects),
    Number("gateway_store_up", "gauge", "Whether the counter store is available (1) or away (0).",
           read=lambda s: s.store.is_available),
    Number("gateway_journal_records", "counter", "Metering records appended to the journal.",
           read=lambda s: s.journal.records),
    Number("gateway_journal_writes", "counter", "Write calls that those records took.",
           read=lambda s: s.journal.writes),
    Number("gateway_journal_write_errors", "counter", "Writes to the journal that failed.",
           read=lambda s: s.journal.write_errors),
    Number("gateway_journal_torn_lines", "counter",
           "Torn or unreadable lines skipped when the journal was read.",
           read=lambda s: s.journal.torn_lines),
    Number("gateway_journal_size_bytes", "gauge",
           "Bytes that the journal holds on disk, without what is kept though it is shipped.",
           read=lambda s: s.journal.bytes_held),
    Number("gateway_journal_kept_bytes", "gauge",
           "Bytes of shipped segment files that are kept for a ledger that loses them.",
           read=lambda s: s.journal.bytes_kept),
    Number("gateway_journal_segments", "gauge", "Segment files that the journal holds.",
           read=lambda s: s.journal.segments),
    Number("gateway_corrections_pending", "gauge",
           "Corrections that the counter store has not acknowledged yet.",
           read=lambda s: s.journal.corrections_pending),
    Number("gateway_summed_refusals", "counter",
           "Refusals that share a record with others of their second.",
           read=lambda s: s.journal.refusals_summed),
    Number("gateway_unrecorded_refusals", "counter",
           "Refusals without a record, for the journal took none. They are on no bill.",
           read=lambda s: s.journal.refusals_unrecorded),
    Number("gateway_shipper_records", "counter", "Records that the ledger acknowledged.",
           read=lambda s: s.shipper.shipped),
    Number("gateway_shipper_batches", "counter", "Batches that the ledger acknowledged.",
           read=lambda s: s.shipper.batches),
    Number("gateway_shipper_errors", "counter", "Batches that the ledger did not take.",
           read=lambda s: s.shipper.errors),
    Number("gateway_shipper_lag_records", "gauge", "Records in the journal but not in the ledger.",
           read=lambda s: s.shipper.lag_records),
    Number("gateway_shipper_oldest_unshipped_timestamp_seconds", "gauge",
           "Unix time of the oldest record not in the ledger yet, 0 if there is none.",
           read=lambda s: s.shipper.oldest_unshipped_micro / MICRO),
    Number("gateway_ledger_went_back", "counter",
           "Times the ledger was found to lack events that it had acknowledged.",
           read=lambda s: s.shipper.ledger_went_back),
    Number("gateway_ledger_gaps", "counter",
           "Times it lacked even the oldest that the journal keeps: older events are lost.",
           read=lambda s: s.shipper.ledger_gaps),
    Number("gateway_shipper_processes_replaced", "counter",
           "Shipping processes that died or hung and were replaced.",
           read=lambda s: s.shipper.processes_replaced),
    Number("gateway_directory_hits", "counter", "Keys found in the worker's cache.",
           read=lambda s: s.directory.hits),
    Number("gateway_directory_misses", "counter", "Keys looked up in the directory's source.",
           read=lambda s: s.directory.misses),
    Number("gateway_directory_unknown_keys", "counter", "Look-ups of keys that do not exist.",
           read=lambda s: s.directory.unknown),
    Number("gateway_directory_refused_lookups", "counter",
           "Look-ups refused because too many unknown keys were asked for.",
           read=lambda s: s.directory.lookups_refused),
    Number("gateway_directory_invalidations", "counter", "Cached keys dropped after a change.",
           read=lambda s: s.directory.invalidations),
    Number("gateway_directory_errors", "counter",
           "Look-ups, and looks for changes, that the source did not answer.",
           read=lambda s: s.directory.errors),
    Number("gateway_directory_cached_keys", "gauge", "Keys in the worker's cache.",
           read=lambda s: s.directory.cached),
    Number("gateway_directory_file_refused", "gauge",
           "1 while the keys file on disk is refused and older keys are in force, otherwise 0.",
           read=lambda s: s.directory.refused),
    Number("gateway_directory_feed_age_seconds", "gauge",
           "Seconds since changes of keys were last seen: revocations since are not in force.",
           read=lambda s: s.directory.feed_age_micro / MICRO),
    Number("gateway_connections_open", "gauge", "Client connections open now.",
           read=lambda s: s.worker.connections_open),
    Number("gateway_connections_accepted", "counter", "Client connections accepted.",
           read=lambda s: s.worker.connections_accepted),
    Number("gateway_connections_refused", "counter",
           "Client connections closed at once because the bound was reached.",
           read=lambda s: s.worker.connections_refused),
    Number("gateway_tunnels_open", "gauge", "Upgraded connections (WebSocket) open now.",
           read=lambda s: s.worker.tunnels_open),
    Number("gateway_tunnel_slices", "counter", "Slices of metered tunnels that were recorded.",
           read=lambda s: s.worker.tunnel_slices),
    Number("gateway_requests_in_flight", "gauge", "Requests being served now.",
           read=lambda s: s.worker.requests_in_flight),
    Number("gateway_http_parse_errors", "counter",
           "Connections closed because of a head that is no HTTP, too large or too slow; such "
           "requests have no record and no access line.",
           read=lambda s: s.worker.parse_errors),
    Number("gateway_forwarded_for_unreadable", "counter",
           "Requests of trusted proxies whose X-Forwarded-For has an entry that is no address "
           "before the client was found: who named it counts as the client.",
           read=lambda s: s.worker.forwarded_for_unreadable),
    Number("gateway_config_reloads", "counter", "Configurations swapped in while running.",
           read=lambda s: s.worker.reloads),
    Number("gateway_config_reload_errors", "counter",
           "New configurations refused; the former one stayed in force.",
           read=lambda s: s.worker.reload_errors),
    Number("gateway_config_refused", "gauge",
           "1 while the configuration on disk is refused and an older one serves, otherwise 0.",
           read=lambda s: s.worker.reload_refused),
    Number("gateway_certificate_refused", "gauge",
           "1 while the listener's certificate on disk is refused, otherwise 0.",
           read=lambda s: s.worker.certificate_refused),
    Number("gateway_config_version", "gauge", "Counts up with every configuration swapped in.",
           read=lambda s: s.worker.config_version),
    Number("gateway_overage_entered", "counter",
           "Times a workspace was found above a quota, once a period and worker that finds it.",
           read=lambda s: s.worker.overage_entered),
    Number("gateway_access_log_dropped_lines", "counter",
           "Access-log lines dropped because nobody read them fast enough.",
           read=lambda s: s.worker.access_log_dropped),
    Number("gateway_upstream_connections_opened", "counter", "Connections made to upstreams.",
           read=lambda s: s.worker.upstream_connections_opened),
    Number("gateway_upstream_connect_errors", "counter", "Connections to upstreams that failed.",
           read=lambda s: s.worker.upstream_connect_errors),
    Number("gateway_upstream_retries", "counter",
           "Requests sent again because a pooled connection had gone stale.",
           read=lambda s: s.worker.upstream_retries),
    Number("gateway_upstream_ejections", "counter",
           "Times an endpoint was ejected because it failed requests.",
           read=lambda s: s.worker.upstream_ejections),
    Number("gateway_upstream_circuit_openings", "counter", "Times an upstream's circuit opened.",
           read=lambda s: s.worker.upstream_circuit_openings),
    Number("gateway_upstream_resolve_errors", "counter",
           "Look-ups of upstreams' host names that failed.",
           read=lambda s: s.worker.upstream_resolve_errors),
)  # fmt: skip


def families() -> tuple[Family, ...]:
    """Return every family of the gateway's own, in the order in which they are rendered."""
    by_label = (JOURNAL_DAMAGE, TUNNELS_ENDED, ENDPOINTS_EJECTED, ENDPOINTS_UNWELL, CIRCUITS_OPEN)
    return (BUILD, *ROUTE_FAMILIES, UNROUTED, *NUMBERS, *by_label)


class WorkerCollector(Collector):
    """Reads a worker's numbers at the moment of the scrape."""

    def __init__(self, stats: Stats, routes: RouteSource, *, version: str) -> None:
        self._stats = stats
        self._routes = routes
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        build = InfoMetricFamily(BUILD.name, BUILD.help)
        build.add_metric((), {"version": self._version})
        yield build
        yield from _route_metrics(list(self._routes()), self._stats.worker.unrouted_refused)
        unrouted = CounterMetricFamily(UNROUTED.name, UNROUTED.help, labels=UNROUTED.labels)
        for status, count in sorted(self._stats.worker.unrouted.items()):
            unrouted.add_metric((str(status),), count)
        yield unrouted
        for number in NUMBERS:
            made = CounterMetricFamily if number.kind == "counter" else GaugeMetricFamily
            yield made(number.name, number.help, value=number.read(self._stats))
        damage = CounterMetricFamily(
            JOURNAL_DAMAGE.name, JOURNAL_DAMAGE.help, labels=JOURNAL_DAMAGE.labels
        )
        for kind, count in sorted(self._stats.journal.damage.items()):
            damage.add_metric((kind,), count)
        yield damage
        worker = self._stats.worker
        ended = CounterMetricFamily(
            TUNNELS_ENDED.name, TUNNELS_ENDED.help, labels=TUNNELS_ENDED.labels
        )
        for reason, count in sorted(worker.tunnels_ended.items()):
            ended.add_metric((reason,), count)
        yield ended
        yield _per_upstream(ENDPOINTS_EJECTED, worker.upstream_endpoints_ejected)
        yield _per_upstream(ENDPOINTS_UNWELL, worker.upstream_endpoints_unwell)
        yield _per_upstream(CIRCUITS_OPEN, worker.upstream_circuits_open)


def _route_metrics(
    routes: Sequence[tuple[str, RouteNumbers]], unrouted_refused: Mapping[str, int]
) -> Iterator[Metric]:
    requests = CounterMetricFamily(REQUESTS.name, REQUESTS.help, labels=REQUESTS.labels)
    duration = HistogramMetricFamily(DURATION.name, DURATION.help, labels=DURATION.labels)
    refusals = CounterMetricFamily(REFUSALS.name, REFUSALS.help, labels=REFUSALS.labels)
    for code, count in sorted(unrouted_refused.items()):
        refusals.add_metric(("", code), count)
    for route, numbers in routes:
        for status, count in sorted(numbers.by_status.items()):
            requests.add_metric((route, str(status)), count)
        duration.add_metric(
            (route,), cumulative(numbers.latency_buckets), numbers.latency_sum_micro / MICRO
        )
        for code, count in sorted(numbers.refused.items()):
            refusals.add_metric((route, code), count)
    yield from (requests, duration, refusals)
    yield _per_route(UNENFORCED, routes, lambda numbers: numbers.unenforced)
    yield _per_route(UNSETTLED, routes, lambda numbers: numbers.unsettled)
    yield _per_route(BYTES_IN, routes, lambda numbers: numbers.bytes_in)
    yield _per_route(BYTES_OUT, routes, lambda numbers: numbers.bytes_out)


def _per_route(
    family: Family,
    routes: Iterable[tuple[str, RouteNumbers]],
    read: Callable[[RouteNumbers], int],
) -> Metric:
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for route, numbers in routes:
        metric.add_metric((route,), read(numbers))
    return metric


def _per_upstream(family: Family, values: Mapping[str, int]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for upstream, value in sorted(values.items()):
        metric.add_metric((upstream,), value)
    return metric


def cumulative(buckets: Sequence[int]) -> list[tuple[str, float]]:
    """Return (upper bound in seconds, requests up to it) pairs, the last one without a bound."""
    pairs: list[tuple[str, float]] = []
    total = 0
    for index, bound_micro in enumerate(LATENCY_BOUNDS_MICRO):
        total += buckets[index] if index < len(buckets) else 0
        pairs.append((repr(bound_micro / MICRO), total))
    pairs.append(("+Inf", total + sum(buckets[len(LATENCY_BOUNDS_MICRO) :])))
    return pairs


def create_registry(stats: Stats, routes: RouteSource, *, version: str) -> CollectorRegistry:
    """Return a registry of the worker's numbers and of its process (memory, CPU, descriptors)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkerCollector(stats, routes, version=version))
    ProcessCollector(registry=registry)
    return registry
