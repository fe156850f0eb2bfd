"""What is derived once per configuration, and when it is derived anew."""

from dataclasses import replace

from gateway.config.snapshot import Snapshot
from gateway.proxy.active import activate
from gateway.proxy.pool import Upstreams
from gateway.rules.units import MICRO
from gateway.telemetry.metrics import WorkerStats
from tests.support.data_plane import DataPlane
from tests.support.fake_clock import NOW_MICRO

DECEMBER_MICRO = 1_764_547_200 * MICRO
"""2025-12-01T00:00:00Z."""


async def test_a_plan_knows_what_its_route_needs(plane_snapshot: Snapshot) -> None:
    active = activate(plane_snapshot, Upstreams(WorkerStats()), NOW_MICRO)

    keyed, named, json = (active.plans[name] for name in ("keyed", "named", "json"))
    assert keyed.places == ((b"authorization", True), (b"x-api-key", False))
    assert keyed.static_cost_micro == {"dc": MICRO}
    assert keyed.settled_meters == 0
    assert {b"authorization", b"x-api-key", b"host", b"te", b"x-tenant-id"} <= keyed.dropped
    assert {b"x_api_key", b"x_tenant-id", b"x_forwarded_for"} <= keyed.dropped
    assert keyed.dropped - keyed.dropped_but_authorization == {b"authorization"}
    assert named.places == ((b"authorization", True),)
    assert json.static_cost_micro is None
    assert json.settled_meters == 1
    assert b"accept-encoding" not in json.dropped
    assert not json.settles_from_body
    assert active.plans["usage"].settles_from_body
    assert {b"accept-encoding", b"accept_encoding"} <= active.plans["usage"].dropped
    assert active.plans["open"].places == ()


async def test_only_fields_that_somebody_reads_are_looked_at(plane_snapshot: Snapshot) -> None:
    active = activate(plane_snapshot, Upstreams(WorkerStats()), NOW_MICRO)

    assert {b"x-api-key", b"idempotency-key", b"expect"} <= active.special
    assert b"cookie" not in active.special


async def test_a_configuration_is_valid_until_the_month_ends(plane_snapshot: Snapshot) -> None:
    active = activate(plane_snapshot, Upstreams(WorkerStats()), NOW_MICRO)

    assert active.period == "2025-11"
    assert active.valid_until_micro == DECEMBER_MICRO
    assert activate(plane_snapshot, Upstreams(WorkerStats()), DECEMBER_MICRO).period == "2025-12"


async def test_a_configuration_is_valid_until_prices_change(plane_snapshot: Snapshot) -> None:
    (old,) = plane_snapshot.pricings
    soon_micro = NOW_MICRO + 60 * MICRO
    new = replace(old, version="new", effective_from_micro=soon_micro)
    snapshot = replace(plane_snapshot, pricings=(old, new))

    active = activate(snapshot, Upstreams(WorkerStats()), NOW_MICRO)

    assert (active.pricing, active.valid_until_micro) == (old, soon_micro)
    assert activate(snapshot, Upstreams(WorkerStats()), soon_micro).pricing is new


async def test_prices_and_month_follow_a_clock_that_is_put_back(plane: DataPlane) -> None:
    snapshot = plane.ports.active.snapshot
    (old,) = snapshot.pricings
    soon_micro = NOW_MICRO + 60 * MICRO
    new = replace(old, version="new", effective_from_micro=soon_micro)
    plane.ports.swap(replace(snapshot, pricings=(old, new)))

    at = plane.ports.active_at
    assert at(soon_micro).pricing is new
    assert at(soon_micro - 1).pricing is old
    assert at(soon_micro).pricing is new
    assert at(DECEMBER_MICRO).period == "2025-12"
    assert (at(DECEMBER_MICRO - 1).period, at(soon_micro) is at(soon_micro)) == ("2025-11", True)


async def test_a_gap_between_prices_is_no_price(plane_snapshot: Snapshot) -> None:
    (only,) = plane_snapshot.pricings
    later = replace(only, effective_from_micro=NOW_MICRO + MICRO)
    snapshot = replace(plane_snapshot, pricings=(later,))

    assert activate(snapshot, Upstreams(WorkerStats()), NOW_MICRO).pricing is None


async def test_routes_that_drop_the_same_fields_share_one_set(plane_snapshot: Snapshot) -> None:
    plans = activate(plane_snapshot, Upstreams(WorkerStats()), NOW_MICRO).plans.values()

    for sets in (
        [plan.dropped for plan in plans],
        [plan.dropped_but_authorization for plan in plans],
        [plan.response_dropped for plan in plans],
    ):
        assert len({id(names) for names in sets}) == len(set(sets))
