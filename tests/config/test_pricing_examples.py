"""The examples that API consumers are given are what the rules and the file really say. A19.

Each example names a tier, an instant and what was used; the answer is made from these by the rules.
Items 0.25 and 0.26.
"""

import json
from datetime import datetime
from typing import Any

import pytest

from gateway.config.pricing import load_pricing
from gateway.errors import Refusal, RefusalCode
from gateway.http import problems, ratelimit
from gateway.rules.charge import Charge, ChargeTemplate, Counts
from gateway.rules.charging import amounts, build_template
from gateway.rules.decision import retry_after_seconds, violations_of
from gateway.rules.units import MICRO
from tests.support.pricing_files import PRICING_FIXTURE, ROOT

PRICING = load_pricing(PRICING_FIXTURE)
COST = {"dc": MICRO}


def examples(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "fixtures" / name).read_text(encoding="utf-8"))
    return found


PROBLEMS = examples("problem_details_examples.json")
FIELDS = examples("ratelimit_headers_examples.json")


def template_and_counts(example: dict[str, Any]) -> tuple[ChargeTemplate, Counts]:
    """Return the counters of an example, standing as it says at its instant."""
    now_micro = int(datetime.fromisoformat(example["at"]).timestamp()) * MICRO
    ladders = PRICING.tiers[example["tier"]].ladders
    template = build_template([ladders[name] for name in example["used"]], "acme", now_micro)
    after_micro = tuple(used * MICRO for used in example["used"].values())
    return template, Counts(False, False, now_micro, after_micro)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_example_is_what_the_gateway_answers(name: str) -> None:
    example = PROBLEMS[name]
    template, counts = template_and_counts(example)
    violations = violations_of(Charge(template, amounts(template, COST), "hold"), counts)
    refusal = Refusal(RefusalCode.QUOTA_EXCEEDED, violations=violations)

    problem = problems.render(
        refusal,
        example["body"]["instance"],
        answers=PRICING.answers,
        billing=PRICING.billing,
        tier=PRICING.tiers[example["tier"]],
        tiers=PRICING.tiers,
    )

    assert json.loads(problem.body) == example["body"]
    assert problem.status == example["body"]["status"]
    retry_after = example["headers"]["Retry-After"]
    assert f"Retry-After: {retry_after}\r\n".encode() in problem.start
    assert str(retry_after_seconds(violations)) == retry_after
    content_type = example["headers"]["Content-Type"]
    assert f"Content-Type: {content_type}\r\n".encode() in problem.start


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_example_is_what_the_gateway_sends(name: str) -> None:
    """A11: total length of the month as ``w``, ``t`` always there."""
    example = FIELDS[name]
    template, counts = template_and_counts(example)
    fields = ratelimit.prepare(template, PRICING.answers, legacy=None)
    expected = {
        field: value for field, value in example["headers"].items() if field != "Retry-After"
    }

    lines = ratelimit.render(fields, counts.after_micro, counts.now_micro).decode()

    assert dict(line.split(": ", 1) for line in lines.splitlines()) == expected


def test_figures_of_the_fields_follow_from_the_calendar() -> None:
    """Counted by hand: 17 s before a minute ends, 11 days less 43 s before the month does."""
    november = FIELDS["monthly_dc_headers_starter"]["headers"]["RateLimit-Policy"]
    december = FIELDS["monthly_dc_headers_december"]["headers"]["RateLimit-Policy"]

    assert november == f'"monthly_dc";q=2000;w={30 * 86_400}'
    assert december == f'"monthly_dc";q=2000;w={31 * 86_400}'
    assert FIELDS["combined_headers_example"]["headers"]["RateLimit"] == (
        f'"rpm";r=123;t=17, "monthly_dc";r=1234;t={11 * 86_400 - 43}'
    )
