"""What a scrape says: names with units, all documented, the numbers of the moment (E10, D14)."""

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.config.snapshot import RouteCounters
from gateway.telemetry.exposition import create_registry, cumulative, families
from gateway.telemetry.metrics import LATENCY_BOUNDS_MICRO, Stats


def scrape(stats: Stats, routes: dict[str, RouteCounters]) -> dict[tuple[str, ...], float]:
    registry = create_registry(stats, routes.items, version="1.2.3")
    text = generate_latest(registry).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_number_of_a_worker_is_exported_once() -> None:
    """A statistic that nobody can scrape would be decoration: each field moves one family."""
    for group in ("store", "journal", "shipper", "directory", "worker"):
        for name in getattr(Stats(), group).__slots__:
            stats = Stats()
            before = scrape(stats, {})
            value: object = 7_000_000
            if isinstance(getattr(getattr(stats, group), name), dict):
                value = {"200": 7}
            setattr(getattr(stats, group), name, value)
            after = scrape(stats, {})
            moved = [
                key
                for key, number in after.items()
                if before.get(key) != number and not key[0].startswith("process_")
            ]
            assert len(moved) == 1, f"{group}.{name} moves {moved}"


def test_a_route_is_told_by_status_code_and_duration() -> None:
    buckets = [0] * (len(LATENCY_BOUNDS_MICRO) + 1)
    buckets[0], buckets[3], buckets[-1] = 5, 2, 1
    counters = RouteCounters(
        by_status={200: 6, 429: 2},
        refused={"quota_exceeded": 2},
        latency_buckets=buckets,
        latency_sum_micro=61_500_000,
        requests=8,
        unenforced=1,
        unsettled=3,
        bytes_in=100,
        bytes_out=2000,
    )

    seen = scrape(Stats(), {"create-run": counters})

    assert seen["gateway_requests_total", "create-run", "200"] == 6
    assert seen["gateway_requests_total", "create-run", "429"] == 2
    assert seen["gateway_refusals_total", "quota_exceeded", "create-run"] == 2
    assert seen["gateway_request_duration_seconds_bucket", "0.0005", "create-run"] == 5
    assert seen["gateway_request_duration_seconds_bucket", "0.005", "create-run"] == 7
    assert seen["gateway_request_duration_seconds_bucket", "+Inf", "create-run"] == 8
    assert seen["gateway_request_duration_seconds_count", "create-run"] == 8
    assert seen["gateway_request_duration_seconds_sum", "create-run"] == 61.5
    assert seen["gateway_unenforced_requests_total", "create-run"] == 1
    assert seen["gateway_unsettled_requests_total", "create-run"] == 3
    assert seen["gateway_request_body_bytes_total", "create-run"] == 100
    assert seen["gateway_response_body_bytes_total", "create-run"] == 2000


def test_unrouted_requests_are_told_by_status() -> None:
    stats = Stats()
    stats.worker.unrouted = {404: 3, 400: 1}
    stats.worker.unrouted_refused = {"route_unknown": 3, "target_too_long": 2}

    seen = scrape(stats, {})

    assert seen["gateway_unrouted_requests_total", "404"] == 3
    assert seen["gateway_unrouted_requests_total", "400"] == 1
    assert seen["gateway_refusals_total", "route_unknown", ""] == 3
    assert seen["gateway_refusals_total", "target_too_long", ""] == 2


def test_the_build_and_the_process_are_told() -> None:
    seen = scrape(Stats(), {})

    assert seen["gateway_build_info", "1.2.3"] == 1
    assert seen["process_resident_memory_bytes",] > 0


@given(st.lists(st.integers(0, 1000), max_size=len(LATENCY_BOUNDS_MICRO) + 1))
def test_buckets_never_fall_and_end_at_all_requests(buckets: list[int]) -> None:
    counts = [count for _, count in cumulative(buckets)]

    assert counts == sorted(counts)
    assert counts[-1] == sum(buckets)
    assert len(counts) == len(LATENCY_BOUNDS_MICRO) + 1


def test_names_and_help_keep_the_conventions() -> None:
    names = [family.name for family in families()]

    assert len(names) == len(set(names))
    for family in families():
        assert re.fullmatch(r"gateway_[a-z_]+", family.name), family.name
        assert not family.name.endswith("_total"), family.name
        assert family.help.endswith("."), family.name
        assert "micro" not in family.name, "base units only: seconds and bytes"
