"""A10, A21, B6: every refusal is a problem with type, title, status, code and no inner detail."""

from dataclasses import replace

import orjson
import pytest

from gateway.errors import Refusal, RefusalCode
from gateway.http.problems import closes_connection, describe, render, status_of
from gateway.rules.decision import violations_of
from gateway.rules.plan import ViolatedForm
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
