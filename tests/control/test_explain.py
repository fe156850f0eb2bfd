"""A dry run says what a real request would meet, by the same rules, and counts nothing (N6, C5)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from gateway.config.snapshot import (
    CostReading,
    CostSource,
    KeyPlace,
    MeterCost,
    RunIdReading,
    RunIdSource,
    Segment,
    Snapshot,
)
from gateway.control.explain import (
    AskedCaller,
    CountReader,
    Question,
    RunReader,
    caller_of_key,
    explain,
)
from gateway.control.explanation import Explanation
from gateway.keys.port import KeyDescription, Workspace, WorkspaceStatus
from gateway.rules.charge import ChargeTemplate
from gateway.rules.limits import LimitKind, Scope
from gateway.rules.units import MICRO
from gateway.rules.windows import Window, WindowKind
from tests.support.control_fakes import (
    DC_FROM_BODY,
    RUNS,
    MemoryRegistry,
    pricing,
    route,
    snapshot,
)
from tests.support.fake_clock import FakeClock
from tests.support.plans import NOW_MICRO, extra

STARTER = Workspace("acme", "STARTER", WorkspaceStatus.ACTIVE, 0)
SANDBOX = replace(STARTER, plan="SANDBOX")
KEY = KeyDescription("key_a", "egw_live_abcd", "acme", "", 0, None, None, None, None, ())
RUN = Question("POST", "/v1/runs")
SCOPES = (Scope.KEY, Scope.ADDRESS, Scope.ROUTE, Scope.WORKSPACE)
USED = {"per_key": 1, "per_address": 9, "per_route": 2, "per_workspace": 3}
RUN_ID_FIELD = RunIdReading(RunIdSource.HEADER, header=b"idempotency-key")


def reader(counts: Mapping[str, int | None]) -> CountReader:
    async def read(template: ChargeTemplate) -> Sequence[int | None]:
        found = [counts.get(entry.ladder.id, 0) for entry in template.entries]
        return [None if count is None else count * MICRO for count in found]

    return read


async def ask(
    question: Question = RUN,
    workspace: Workspace | None = STARTER,
    key: KeyDescription | None = None,
    found: Snapshot | None = None,
    **counts: int | None,
) -> Explanation:
    caller = None if workspace is None else AskedCaller(workspace, key)
    return await explain(
        found or snapshot(), FakeClock(NOW_MICRO), question, caller, reader(counts)
    )


async def test_a_request_within_all_limits_would_be_forwarded() -> None:
    answer = await ask(Question("post", "/v1/runs?x=1", body=b'{"estimated_dc": 2.5}'), rpm=7)

    assert answer.forwards
    assert (answer.route, answer.upstream, answer.plan) == ("create-run", "runs", "STARTER")
    assert answer.cost == {"dc": "2.5"}
    assert [(policy.policy, policy.count, policy.cost) for policy in answer.policies] == [
        ("rpm", "7", "1"),
        ("monthly_dc", "0", "2.5"),
    ]
    assert all(policy.allows for policy in answer.policies)
    assert [step.name for step in answer.steps] == ["route", "caller", "cost", "limits"]


@pytest.mark.parametrize(("used", "forwards"), [(3_029, True), (3_030, False)])
async def test_the_very_edge_of_the_grace_is_told_right(used: int, forwards: bool) -> None:
    """T4: STARTER passes up to 3030 and is refused 3031."""
    answer = await ask(monthly_dc=used)

    assert answer.forwards is forwards
    if forwards:
        assert answer.flags == ["overage", "grace"]
    else:
        assert (answer.status, answer.code) == (429, "quota_exceeded")


async def test_sandbox_has_no_overage() -> None:
    """T4: a hard cap of 0 beside a finite quota means none, never endless."""
    answer = await ask(workspace=SANDBOX, monthly_dc=50)

    assert answer.status == 429
    assert [policy.allows for policy in answer.policies] == [True, False]


async def test_the_wait_is_until_the_same_request_could_pass() -> None:
    """T26: no fixed Retry-After."""
    answer = await ask(rpm=600)

    assert answer.retry_after_seconds == 60


async def test_a_count_that_is_not_known_is_said_to_be_unknown() -> None:
    answer = await ask(rpm=None)

    assert answer.forwards
    assert answer.policies[0].count is None


@pytest.mark.parametrize(
    ("key", "address", "counts"),
    [(None, None, [None, None, "2", "3"]), (KEY, None, ["1", None, "2", "3"]),
     (KEY, "192.0.2.7", ["1", "9", "2", "3"]), (None, "192.0.2.7", [None, "9", "2", "3"])],
)  # fmt: skip
async def test_whose_counter_is_not_said_is_unknown(
    key: KeyDescription | None, address: str | None, counts: list[str | None]
) -> None:
    """A store has a count of 0 for whatever name it is asked."""
    day = Window(WindowKind.DAY)
    own = tuple(extra(f"per_{scope.value}", 50, day, scope=scope) for scope in SCOPES)
    found = snapshot(replace(route("create-run", RUNS, own_limits=own), limits=()))

    answer = await ask(replace(RUN, address=address), key=key, found=found, **USED)

    assert [policy.count for policy in answer.policies] == counts


@pytest.mark.parametrize(("address", "counts"), [(None, [None, None]), ("192.0.2.7", ["9", "2"])])
async def test_an_open_route_without_an_address_has_no_known_counters(
    address: str | None, counts: list[str | None]
) -> None:
    day = Window(WindowKind.DAY)
    own = tuple(extra(f"per_{scope.value}", 50, day, scope=scope) for scope in SCOPES[1:3])
    open_route = route("create-run", RUNS, places=(), own_limits=own)

    answer = await ask(replace(RUN, address=address), None, found=snapshot(open_route), **USED)

    assert [policy.count for policy in answer.policies] == counts


async def test_a_plan_without_limits_is_not_limited() -> None:
    """A12, T37: unlimited is no number."""
    answer = await ask(workspace=replace(STARTER, plan="ENTERPRISE"))

    assert answer.forwards
    assert answer.policies == []


@pytest.mark.parametrize(
    ("question", "status", "code"),
    [
        (Question("GET", "/v1/nothing"), 404, "route_unknown"),
        (Question("DELETE", "/v1/runs"), 405, "method_not_allowed"),
        (Question("TRACE", "/v1/runs"), 405, "method_not_allowed"),
        (Question("FOO", "/v1/nothing"), 501, "not_implemented"),
        (Question("F?O", "/v1/runs"), 400, "bad_request"),
        (Question("POST", "/v1/%2e%2e/v1/runs"), 400, "bad_request"),
        (Question("POST", "/v1/runs", body=b"x" * 1_001), 413, "body_too_large"),
        (Question("POST", "/v1/runs", body=b"{"), 400, "cost_invalid"),
        (Question("POST", "/v1/runs", body=b'{"estimated_dc": -1}'), 400, "cost_invalid"),
        (
            Question("POST", "/v1/runs", body=b'{"estimated_dc":1,"estimated_dc":1}'),
            400,
            "cost_invalid",
        ),
        (
            Question("POST", "/v1/runs", body=b"\x1f", headers={"content-encoding": [b"gzip"]}),
            415,
            "content_coding_unsupported",
        ),
    ],
)
async def test_what_is_wrong_with_the_request_is_said(
    question: Question, status: int, code: str
) -> None:
    answer = await ask(question)

    assert (answer.forwards, answer.status, answer.code) == (False, status, code)
    assert str(status) in answer.summary
    assert not answer.steps[-1].passed


@pytest.mark.parametrize(
    ("workspace", "key", "status", "code"),
    [
        (None, None, 401, "key_missing"),
        (replace(STARTER, status=WorkspaceStatus.SUSPENDED), None, 403, "workspace_suspended"),
        (
            replace(STARTER, status=WorkspaceStatus.PAYMENT_REQUIRED),
            None,
            402,
            "payment_required",
        ),
        (replace(STARTER, plan="PRO"), None, 403, "plan_unknown"),
        (STARTER, replace(KEY, revoked_at_micro=1), 401, "key_revoked"),
        (STARTER, replace(KEY, expires_at_micro=1), 401, "key_expired"),
        (STARTER, replace(KEY, networks=("10.0.0.0/8",)), 403, "address_not_allowed"),
    ],
)
async def test_what_is_wrong_with_the_caller_is_said(
    workspace: Workspace | None, key: KeyDescription | None, status: int, code: str
) -> None:
    answer = await ask(replace(RUN, address="192.0.2.1"), workspace, key)

    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(
    ("plan", "features", "forwards"),
    [
        ("STARTER", None, False),
        ("ENTERPRISE", None, True),
        ("ENTERPRISE", ("sso",), False),
        ("ENTERPRISE", ("sso", "replay"), True),
    ],
)
async def test_features_are_the_plans_within_the_keys(
    plan: str, features: tuple[str, ...] | None, forwards: bool
) -> None:
    """A14."""
    found = snapshot(route("replay", RUNS, requires=frozenset({"replay"})))

    answer = await ask(
        workspace=replace(STARTER, plan=plan), key=replace(KEY, features=features), found=found
    )

    assert answer.forwards is forwards
    if not forwards:
        assert answer.code == "feature_unavailable"
        assert "replay" in answer.summary


async def test_an_address_in_the_keys_networks_passes() -> None:
    key = replace(KEY, networks=("10.0.0.0/8",))

    answer = await ask(replace(RUN, address="10.1.2.3"), STARTER, key)

    assert answer.forwards
    assert "address" in [step.name for step in answer.steps]


@pytest.mark.parametrize(
    ("headers", "forwards"), [({}, False), ({"idempotency-key": [b"run-1"]}, True)]
)
async def test_a_run_id_may_be_required(headers: dict[str, list[bytes]], forwards: bool) -> None:
    found = snapshot(route("create-run", RUNS, cost=(DC_FROM_BODY,), run_id_required=True))

    answer = await ask(replace(RUN, headers=headers), found=found)

    assert answer.forwards is forwards
    if forwards:
        assert "run id" in [step.name for step in answer.steps]


@pytest.mark.parametrize(
    "sent", [[b""], [b'""'], ["é".encode()], [b"x" * 256], [b"run-1", b"run-1"]]
)
async def test_a_run_id_is_refused_as_the_gateway_refuses_it(sent: list[bytes]) -> None:
    found = snapshot(replace(route("create-run", RUNS), run_id=RUN_ID_FIELD))

    answer = await ask(replace(RUN, headers={"idempotency-key": sent}), found=found)

    assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize(("run", "is_run"), [(b"7", True), (b'"7"', True), (b"true", False)])
async def test_a_run_id_in_the_body_is_read_as_the_gateway_reads_it(
    run: bytes, is_run: bool
) -> None:
    reading = RunIdReading(RunIdSource.JSON, pointer=("run",))
    found = snapshot(replace(route("create-run", RUNS), run_id=reading))

    answer = await ask(replace(RUN, body=b'{"run": %b}' % run), found=found)

    assert answer.forwards is is_run
    assert answer.code == (None if is_run else "bad_request")


async def test_a_cost_that_is_told_twice_is_refused_as_the_gateway_refuses_it() -> None:
    told = CostReading(CostSource.HEADER, MICRO, header=b"x-cost")
    found = snapshot(route("create-run", RUNS, cost=(MeterCost("dc", told, None),)))

    once = await ask(replace(RUN, headers={"x-cost": [b"3"]}), found=found)
    twice = await ask(replace(RUN, headers={"x-cost": [b"3", b"3"]}), found=found)

    assert once.cost == {"dc": "3"}
    assert (twice.status, twice.code) == (400, "cost_invalid")


def runs(**events: int) -> RunReader:
    """Return what knows by which event, and when, each run of ``acme`` was charged."""

    async def read(workspace_id: str, run_id: str) -> tuple[str, int] | None:
        assert workspace_id == "acme"
        return (f"event-{run_id}", events[run_id]) if run_id in events else None

    return read


async def ask_run(run_id: str, known: RunReader | None, **counts: int) -> Explanation:
    found = snapshot(route("create-run", RUNS, cost=(DC_FROM_BODY,), run_id_required=True))
    question = replace(RUN, headers={"idempotency-key": [run_id.encode()]})
    caller = AskedCaller(STARTER, None)
    return await explain(found, FakeClock(NOW_MICRO), question, caller, reader(counts), known)


@pytest.mark.parametrize("run_id", ["again", '"again"', ' "again" '])
async def test_a_run_that_was_charged_passes_a_full_quota(run_id: str) -> None:
    answer = await ask_run(run_id, runs(again=NOW_MICRO - 1), monthly_dc=3_030, rpm=5)

    assert answer.forwards
    assert answer.repeat_of == "event-again"
    assert [(policy.policy, policy.cost, policy.allows) for policy in answer.policies] == [
        ("rpm", "1", True),
        ("monthly_dc", "0", True),
    ]


async def test_a_repeat_is_counted_by_rates() -> None:
    answer = await ask_run("again", runs(again=NOW_MICRO - 1), rpm=600)

    assert (answer.forwards, answer.code) == (False, "quota_exceeded")


@pytest.mark.parametrize("at_micro", [None, NOW_MICRO - 45 * 86_400 * MICRO])
async def test_an_unknown_or_forgotten_run_is_charged(at_micro: int | None) -> None:
    known = runs() if at_micro is None else runs(old=at_micro)

    answer = await ask_run("old", known, monthly_dc=3_030)

    assert answer.code == "quota_exceeded"
    assert answer.repeat_of is None
    assert "not charged yet" in next(s.told for s in answer.steps if s.name == "run id")


async def test_without_a_ledger_to_ask_both_is_said() -> None:
    answer = await ask_run("again", None)

    assert answer.forwards
    assert "if it was charged before" in answer.steps[-2].told


async def test_an_open_route_asks_for_no_key_and_may_limit_addresses() -> None:
    window = Window(WindowKind.SECONDS, 60)
    per_address = extra(
        "burst", 5, window, kind=LimitKind.RATE, meter="requests", scope=Scope.ADDRESS
    )
    places: tuple[KeyPlace, ...] = ()
    found = snapshot(
        route("status", (Segment(b"status"),), places=places, own_limits=(per_address,))
    )

    passed = await ask(Question("POST", "/status", address="192.0.2.1"), None, None, found)
    refused = await ask(
        Question("POST", "/status", address="192.0.2.1"), None, None, found, burst=5
    )

    assert passed.forwards
    assert refused.status == 429


async def test_an_open_route_counts_an_address_whoever_asks() -> None:
    per_address = extra(
        "burst", 5, Window(WindowKind.SECONDS, 60), kind=LimitKind.RATE, meter="requests"
    )
    found = snapshot(route("status", (Segment(b"status"),), places=(), own_limits=(per_address,)))
    asked: list[str] = []

    async def read(template: ChargeTemplate) -> Sequence[int | None]:
        asked.extend(entry.key for entry in template.entries)
        return [0 for _ in template.entries]

    question = Question("POST", "/status", address="192.0.2.1")
    for caller in (None, AskedCaller(STARTER, KEY)):
        await explain(found, FakeClock(NOW_MICRO), question, caller, read)

    assert "{address-192.0.2.1}" in asked[0]
    assert asked[0] == asked[1]


async def test_no_price_list_in_force_means_no_plan_is_known() -> None:
    later = snapshot(pricings=(pricing(effective_from_micro=NOW_MICRO + 1),))

    assert (await ask(found=later)).code == "plan_unknown"


def test_a_key_stands_for_its_workspace() -> None:
    registry = MemoryRegistry()
    registry.create_workspace(STARTER)

    assert caller_of_key(registry, KEY) == AskedCaller(STARTER, KEY)
