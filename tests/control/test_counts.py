"""E5: where a dry run reads its counts: the shared store, or what the ledger was told."""

from dataclasses import replace

from gateway.config.snapshot import Snapshot
from gateway.control.counts import from_ledger, from_store
from gateway.counters.memory import MemoryCounterStore
from gateway.ledger.port import ChargedTotal
from gateway.rules.charging import build_template
from gateway.rules.limits import Ladder, Scope
from gateway.rules.units import MICRO
from gateway.rules.windows import Window, WindowKind
from gateway.telemetry.metrics import StoreStats
from tests.support.control_fakes import RUNS, MemoryLedger, pricing, route, snapshot
from tests.support.fake_clock import FakeClock
from tests.support.plans import NOW_MICRO, charge_of, extra, monthly, rpm

MONTH = Window(WindowKind.CALENDAR_MONTH)
TOTALS = [
    ChargedTotal("acme", "dc", "key_a", "runs", 5 * MICRO, 2),
    ChargedTotal("acme", "dc", "key_b", "chat", 7 * MICRO, 3),
    ChargedTotal("other", "dc", "key_c", "runs", 100 * MICRO, 1),
]


async def read_from_ledger(*ladders: Ladder, among: Snapshot | None = None) -> list[int | None]:
    template = build_template(ladders, "acme", NOW_MICRO, key_id="key_a", route="runs")
    read = from_ledger(MemoryLedger(totals=TOTALS), among or snapshot(), NOW_MICRO, key_id="key_a")
    return list(await read(template))


async def test_the_ledger_tells_quotas_of_one_workspace_but_no_rates() -> None:
    assert await read_from_ledger(rpm(60), monthly(50)) == [None, 12 * MICRO]


async def test_the_ledger_tells_limits_of_a_key_and_of_a_route() -> None:
    per_key = extra("per_key", 10, MONTH, scope=Scope.KEY)
    per_route = extra("per_route", 10, MONTH, scope=Scope.ROUTE)
    per_address = extra("per_address", 10, MONTH, scope=Scope.ADDRESS)

    assert await read_from_ledger(per_key, per_route, per_address) == [5 * MICRO, 5 * MICRO, None]


async def test_what_a_route_uses_counts_where_it_is_charged_alone() -> None:
    """C17: as in the gateway, a quota knows nothing of routes that it does not limit."""
    own = extra("runs_only", 10, MONTH)
    routes = [route("runs", RUNS, own_limits=(own,)), replace(route("chat", RUNS), limits=())]
    quota = pricing().tiers["STARTER"].ladders["monthly_dc"]

    assert await read_from_ledger(own, quota, among=snapshot(*routes)) == [5 * MICRO, 5 * MICRO]


async def test_a_meter_that_counts_calls_counts_events() -> None:
    """A22: aggregation ``count``."""
    assert await read_from_ledger(monthly(50, counts_calls=True)) == [5 * MICRO]


async def test_a_shared_store_is_asked_for_the_very_keys_of_the_charge() -> None:
    store = MemoryCounterStore(FakeClock(NOW_MICRO), stats=StoreStats())
    charge = charge_of(rpm(60), monthly(50), dc_micro=2 * MICRO)
    await store.charge(charge)

    assert list(await from_store(store)(charge.template)) == [MICRO, 2 * MICRO]
