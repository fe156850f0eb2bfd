"""Which routes charge a quota, as recovery and dry runs must know."""

from dataclasses import replace

from gateway.control.quotas import quotas_of
from gateway.rules.limits import Scope
from gateway.rules.windows import Window, WindowKind
from tests.support.control_fakes import RUNS, pricing, route, snapshot
from tests.support.plans import NOW_MICRO, extra

MONTH = Window(WindowKind.CALENDAR_MONTH)


def test_a_plans_quota_is_charged_where_it_is_listed() -> None:
    routes = [route("runs", RUNS), replace(route("free", RUNS), limits=("rpm",))]
    quota = pricing().tiers["STARTER"].ladders["monthly_dc"]

    found = {known.ladder: known.free_routes for known in quotas_of(snapshot(*routes), NOW_MICRO)}

    assert found[quota] == {"free"}
    assert {ladder.id for ladder in found} == {"monthly_dc"}, "rates are not quotas"


def test_a_routes_own_quota_is_charged_there_alone() -> None:
    own = extra("own", 10, MONTH)
    address = extra("address", 10, MONTH, scope=Scope.ADDRESS)
    routes = [route("runs", RUNS, own_limits=(own, address)), route("chat", RUNS)]

    found = {known.ladder: known.free_routes for known in quotas_of(snapshot(*routes), NOW_MICRO)}

    assert found[own] == {"chat"}
    assert address not in found


def test_without_prices_routes_own_quotas_are_left() -> None:
    own = extra("own", 10, MONTH)
    routes = snapshot(route("runs", RUNS, own_limits=(own,)))

    assert [known.ladder for known in quotas_of(routes, 0)] == [own]
