"""A10, A21, B6: every refusal is a problem with type, title, status, code and no inner detail."""

from dataclasses import replace

import orjson
import pytest

from gateway.errors import Refusal, RefusalCode
from gateway.http.problems import closes_connection, describe, render, status_of
from gateway.rules.decision import violations_of
from gateway.rules.limits import Ladder
from gateway.rules.plan import Grace, GracePolicy, Tier, ViolatedForm
from gateway.rules.units import MICRO
from gateway.rules.windows import Window, WindowKind
from tests.support.plans import (
    ANSWERS,
    BILLING,
    QUOTA_EXCEEDED_TITLE,
    QUOTA_EXCEEDED_TYPE,
    charge_of,
    counts_of,
    extra,
    monthly,
    rpm,
)

FACTS = {
    RefusalCode.METHOD_NOT_ALLOWED: {"allow": b"GET, HEAD"},
    RefusalCode.FEATURE_UNAVAILABLE: {"features": frozenset({"replay"})},
}


def exceeded(*ladders: object, after: tuple[int, ...]) -> Refusal:
    charge = charge_of(*ladders)  # type: ignore[arg-type]
    counts = counts_of(charge.template, *after, admitted=False)
    return Refusal(RefusalCode.QUOTA_EXCEEDED, violations=violations_of(charge, counts))


@pytest.mark.parametrize("code", [code for code in RefusalCode if code.value != "quota_exceeded"])
def test_every_refusal_is_a_complete_problem(code: RefusalCode) -> None:
    problem = render(Refusal(code, **FACTS.get(code, {})), "request-1")
    body = orjson.loads(problem.body)

    assert {"type", "title", "status", "detail", "instance", "code"} <= body.keys()
    assert body["status"] == problem.status == status_of(code)
    assert body["code"] == code.value
    assert body["instance"] == "request-1"
    assert b"Content-Type: application/problem+json\r\n" in problem.start
    assert b"Cache-Control: no-store\r\n" in problem.start
    assert (problem.status == 401) == (b"WWW-Authenticate:" in problem.start)


def test_types_are_distinct() -> None:
    reduced = {
        RefusalCode.STORE_UNAVAILABLE,
        RefusalCode.DIRECTORY_UNAVAILABLE,
        RefusalCode.RECORDING_UNAVAILABLE,
    }
    types = [
        orjson.loads(render(Refusal(code, **FACTS.get(code, {})), "r").body)["type"]
        for code in RefusalCode
        if code is not RefusalCode.QUOTA_EXCEEDED and code not in reduced
    ]

    assert len(types) == len(set(types))


@pytest.mark.parametrize(
    ("ladders", "after", "detail", "violated"),
    [
        (
            (rpm(600), monthly(2000)), (600, 5),
            "RPM limit of 600 requests per minute exceeded",
            [{"policy_name": "rpm", "limit": 600, "current": 601, "window_seconds": 60}],
        ),
        (
            (rpm(600), monthly(2000)), (5, 2000),
            "Monthly DC quota of 2000 exceeded",
            [{"policy_name": "monthly_dc", "limit": 2000, "current": 2001, "window_seconds": None}],
        ),
        (
            (rpm(600), monthly(2000, overage=1000)), (5, 3000),
            "Hard overage cap of 1000 DC exceeded",
            [{"policy_name": "hard_overage_cap", "limit": 3000, "current": 3001,
              "window_seconds": None}],
        ),
        (
            (rpm(600), monthly(2000)), (600, 2000),
            "Multiple quota limits exceeded",
            [{"policy_name": "rpm", "limit": 600, "current": 601, "window_seconds": 60},
             {"policy_name": "monthly_dc", "limit": 2000, "current": 2001,
              "window_seconds": None}],
        ),
    ],
)  # fmt: skip
def test_limit_refusal_names_what_the_clients_of_the_first_system_read(
    ladders: tuple[object, ...],
    after: tuple[int, ...],
    detail: str,
    violated: list[dict[str, object]],
) -> None:
    """A19, T7: the four examples; ``current`` is the value that would have been reached."""
    problem = render(exceeded(*ladders, after=after), "r", answers=ANSWERS, billing=BILLING)
    body = orjson.loads(problem.body)

    assert body["type"] == QUOTA_EXCEEDED_TYPE
    assert body["title"] == QUOTA_EXCEEDED_TITLE
    assert body["status"] == 429
    assert body["detail"] == detail
    assert body["violated-policies"] == violated


def test_draft_form_is_an_array_of_names() -> None:
    answers = replace(ANSWERS, violated_form=ViolatedForm.NAMES)

    problem = render(exceeded(rpm(1), after=(1,)), "r", answers=answers, billing=BILLING)

    assert orjson.loads(problem.body)["violated-policies"] == ["rpm"]


def test_member_names_come_from_the_file() -> None:
    answers = replace(ANSWERS, violated_member="violated", violated_name_member="policy")

    problem = render(exceeded(rpm(1), after=(1,)), "r", answers=answers, billing=BILLING)

    assert orjson.loads(problem.body)["violated"][0]["policy"] == "rpm"


def test_status_type_and_title_come_from_the_file() -> None:
    """0.69: a file with 403 gives 403."""
    billing = replace(BILLING, refused_status=403, refused_type="urn:x", refused_title="No")

    problem = render(exceeded(rpm(1), after=(1,)), "r", answers=ANSWERS, billing=billing)

    body = orjson.loads(problem.body)
    assert (problem.status, body["status"], body["type"], body["title"]) == (
        403,
        403,
        "urn:x",
        "No",
    )


def test_retry_after_is_the_longest_wait_and_never_zero() -> None:
    """T26, 0.20: when the same call would pass."""
    problem = render(
        exceeded(rpm(1), monthly(1), after=(1, 1)), "r", answers=ANSWERS, billing=BILLING
    )

    assert b"Retry-After: 950400\r\n" in problem.start


def test_no_retry_after_for_what_never_passes() -> None:
    refusal = exceeded(extra("trial", 3, Window(WindowKind.NONE)), after=(3,))

    problem = render(refusal, "r", answers=ANSWERS, billing=BILLING)

    assert b"Retry-After" not in problem.start


@pytest.mark.parametrize(
    ("after", "dc", "renews_at"),
    [
        ((1, 40, 3), 1, "2026-11-20T00:01:00Z"),  # the trial has room: it does not matter
        ((1, 50, 3), 1, "2026-12-01T00:00:00Z"),
        ((0, 0, 3), 51, None),  # larger than the quota ever is
        ((1, 50, 99), 1, None),  # the trial never begins anew
    ],
)
def test_renews_at_is_when_waiting_will_have_helped(
    after: tuple[int, ...], dc: int, renews_at: str | None
) -> None:
    charge = charge_of(
        rpm(1), monthly(50), extra("trial", 99, Window(WindowKind.NONE)), dc_micro=dc * MICRO
    )
    counts = counts_of(charge.template, *after, admitted=False)
    refusal = Refusal(RefusalCode.QUOTA_EXCEEDED, violations=violations_of(charge, counts))

    problem = render(refusal, "r", answers=ANSWERS, billing=BILLING)

    assert orjson.loads(problem.body).get("renews_at") == renews_at
    assert (b"Retry-After" in problem.start) == (renews_at is not None)


def test_of_a_repeat_only_what_counts_it_renews() -> None:
    """A quota that has no room does not refuse it, so it is not waited for."""
    charge = charge_of(rpm(1), monthly(50))
    counts = counts_of(charge.template, 1, 50, admitted=False, repeat=True)
    refusal = Refusal(RefusalCode.QUOTA_EXCEEDED, violations=violations_of(charge, counts))

    problem = render(refusal, "r", answers=ANSWERS, billing=BILLING)

    assert orjson.loads(problem.body)["renews_at"] == "2026-11-20T00:01:00Z"


def test_other_windows_are_described_too() -> None:
    charge = charge_of(extra("daily", 3, Window(WindowKind.DAY)))
    violations = violations_of(charge, counts_of(charge.template, 3, admitted=False))
    assert describe(violations) == "Quota 'daily' of 3 dc exceeded"

    charge = charge_of(rpm(3, seconds=10))
    violations = violations_of(charge, counts_of(charge.template, 3, admitted=False))
    assert describe(violations) == "Limit 'rpm' of 3 requests per 10 seconds exceeded"


def test_payment_required_uses_the_status_of_the_file() -> None:
    billing = replace(BILLING, payment_required_status=403)

    assert render(Refusal(RefusalCode.PAYMENT_REQUIRED), "r", billing=BILLING).status == 402
    assert render(Refusal(RefusalCode.PAYMENT_REQUIRED), "r", billing=billing).status == 403


def test_framing_mistakes_close_the_connection() -> None:
    assert closes_connection(RefusalCode.BAD_REQUEST)
    assert not closes_connection(RefusalCode.QUOTA_EXCEEDED)


def tier(
    name: str, following: str | None, *ladders: Ladder, features: frozenset[str] = frozenset()
) -> Tier:
    return Tier(
        name=name,
        features=features,
        ladders={ladder.id: ladder for ladder in ladders},
        included_micro=0,
        quota_micro=0,
        total_cap_micro=0,
        grace=Grace(0, GracePolicy.WAIVE_EXCESS),
        base_price_minor=0,
        overage_price_minor=0,
        spending_limited=False,
        overage_alerts=False,
        max_execution_seconds=60,
        max_input_tokens=0,
        max_output_tokens=0,
        next_tier=following,
        upgrade_url=f"https://a.example/from-{name}",
    )


def advised(refusal: Refusal, tiers: list[Tier]) -> tuple[str | None, str | None]:
    """Return what the first of the plans is advised."""
    plans = {tier.name: tier for tier in tiers}
    problem = render(refusal, "r", answers=ANSWERS, billing=BILLING, tier=tiers[0], tiers=plans)
    body = orjson.loads(problem.body)
    return body.get("next_plan"), body.get("upgrade_url")


DAILY = Window(WindowKind.DAY)
TO_B = ("b", "https://a.example/from-a")
TO_C = ("c", "https://a.example/from-b")
NOTHING = (None, None)


@pytest.mark.parametrize(
    ("used", "b", "c", "advice"),
    [
        ((60, 5), (rpm(600), monthly(50)), (rpm(600), monthly(500)), TO_B),
        ((5, 50), (rpm(600), monthly(50)), (rpm(600), monthly(500)), TO_C),
        ((60, 50), (rpm(600), monthly(50)), (rpm(60), monthly(500)), NOTHING),
        ((60, 50), (rpm(600), monthly(50)), (rpm(600), monthly(500)), TO_C),
        ((5, 50), (rpm(600),), (), TO_B),  # without a limit
        ((5, 50), (monthly(10, notify_only=True),), (), TO_B),
        ((5, 50), (monthly(50, overage=1),), (), TO_B),
        ((60, 5), (rpm(61, seconds=120),), (rpm(600, seconds=120),), TO_C),
        ((60, 5), (rpm(61, seconds=30),), (), TO_B),
    ],
)  # fmt: skip
def test_the_plan_that_is_advised_has_room_for_the_request(
    used: tuple[int, ...], b: tuple[Ladder, ...], c: tuple[Ladder, ...], advice: object
) -> None:
    mine = (rpm(60), monthly(50))
    tiers = [tier("a", "b", *mine), tier("b", "c", *b), tier("c", None, *c)]

    assert advised(exceeded(*mine, after=used), tiers) == advice


def test_what_is_larger_than_a_plan_allows_is_told_one_that_allows_it() -> None:
    charge = charge_of(monthly(50), dc_micro=300 * MICRO)
    counts = counts_of(charge.template, 0, admitted=False)
    refusal = Refusal(RefusalCode.QUOTA_EXCEEDED, violations=violations_of(charge, counts))
    tiers = [
        tier("a", "b", monthly(50)),
        tier("b", "c", monthly(299)),
        tier("c", "a", monthly(300)),
    ]

    assert advised(refusal, tiers) == TO_C
    assert advised(refusal, [*tiers[:2], tier("c", "a", monthly(299))]) == NOTHING  # in a circle


def test_no_plan_helps_against_a_limit_of_the_route_file() -> None:
    own = extra("own", 3, DAILY)
    tiers = [tier("a", "b", monthly(50)), tier("b", None)]

    assert advised(exceeded(monthly(50), own, after=(5, 3)), tiers) == NOTHING
    assert advised(exceeded(monthly(50), own, after=(50, 3)), tiers) == TO_B


def test_a_limit_of_the_same_name_is_not_the_same_limit() -> None:
    mine = extra("x", 3, DAILY)
    others = [extra("x", 9, Window(WindowKind.HOUR)), extra("x", 9, DAILY, meter="tokens")]
    tiers = [tier("a", "b", mine), *(tier("b", None, other) for other in others)]

    assert advised(exceeded(mine, after=(3,)), tiers[:2]) == NOTHING
    assert advised(exceeded(mine, after=(3,)), [tiers[0], tiers[2]]) == NOTHING


def test_the_plan_that_is_advised_has_the_features() -> None:
    tiers = [
        tier("a", "b"),
        tier("b", "c", features=frozenset({"replay"})),
        tier("c", None, features=frozenset({"replay", "audit"})),
    ]

    def lacking(*features: str, barred: bool = False) -> Refusal:
        return Refusal(RefusalCode.FEATURE_UNAVAILABLE, features=frozenset(features), barred=barred)

    assert advised(lacking("replay"), tiers) == TO_B
    assert advised(lacking("replay", "audit"), tiers) == TO_C
    assert advised(lacking("sso"), tiers) == NOTHING
    assert advised(lacking("replay", barred=True), tiers) == NOTHING


def test_who_suggests_no_plan_may_say_whom_to_ask() -> None:
    tiers = [tier("a", None, monthly(50)), tier("b", None)]

    assert advised(exceeded(monthly(50), after=(50,)), tiers) == (None, "https://a.example/from-a")
