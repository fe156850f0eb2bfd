"""A11, A12, B5: the fields are valid structured fields and tell exactly where the caller stands."""

from dataclasses import replace

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.ratelimit import prepare, render, with_refunds
from gateway.rules.charging import build_template
from gateway.rules.units import MICRO
from gateway.rules.windows import Window, WindowKind
from tests.support.plans import ANSWERS, NOW_MICRO, extra, monthly, rpm

NOVEMBER_SECONDS = 30 * 86_400


def parsed(lines: bytes, field: str) -> list[tuple[str, dict[str, object]]]:
    """Return a field's items by an RFC 9651 parser that is not ours."""
    values = [
        line.partition(b": ")[2]
        for line in lines.split(b"\r\n")
        if line.partition(b": ")[0] == field.encode()
    ]
    assert len(values) == 1
    return http_sf.parse(values[0], tltype="list")


def test_fields_name_every_policy_with_quota_window_rest_and_reset() -> None:
    template = build_template([rpm(600), monthly(2000, overage=1000)], "w", NOW_MICRO)
    fields = prepare(template, ANSWERS, legacy=None)

    lines = render(fields, (477 * MICRO, 550 * MICRO), NOW_MICRO + 43 * MICRO)

    assert lines == (
        b'RateLimit-Policy: "rpm";q=600;w=60, "monthly_dc";q=2000;w=2592000\r\n'
        b'RateLimit: "rpm";r=123;t=17, "monthly_dc";r=1450;t=950357\r\n'
    )
    assert parsed(lines, "RateLimit-Policy") == [
        ("rpm", {"q": 600, "w": 60}),
        ("monthly_dc", {"q": 2000, "w": NOVEMBER_SECONDS}),
    ]


@given(st.integers(0, 5000 * MICRO), st.integers(0, 59_999_999))
def test_rest_is_what_further_calls_of_cost_one_would_find(
    count_micro: int, into_window_micro: int
) -> None:
    template = build_template([rpm(600), monthly(2000, overage=1000)], "w", NOW_MICRO)

    lines = render(
        prepare(template, ANSWERS, legacy=None),
        (count_micro, count_micro),
        NOW_MICRO + into_window_micro,
    )

    (_, rate), (_, month) = parsed(lines, "RateLimit")
    fitting = max(0, (600 * MICRO - count_micro) // MICRO)
    assert rate["r"] == fitting
    assert month["r"] == max(0, (2000 * MICRO - count_micro) // MICRO)
    assert 1 <= rate["t"] <= 60


def test_overage_shows_nothing_left_of_the_quota() -> None:
    template = build_template([monthly(2000, overage=1000)], "w", NOW_MICRO)

    lines = render(prepare(template, ANSWERS, legacy=None), (2500 * MICRO,), NOW_MICRO)

    assert parsed(lines, "RateLimit")[0][1]["r"] == 0


def test_no_limits_no_fields() -> None:
    """A12: an unlimited tier sends no limit fields."""
    template = build_template([], "w", NOW_MICRO)

    assert render(prepare(template, ANSWERS, legacy="delta"), (), NOW_MICRO) == b""


def test_lifetime_quota_has_no_window_and_no_reset() -> None:
    template = build_template([extra("trial", 10, Window(WindowKind.NONE))], "w", NOW_MICRO)

    lines = render(prepare(template, ANSWERS, legacy=None), (3 * MICRO,), NOW_MICRO)

    assert parsed(lines, "RateLimit-Policy") == [("trial", {"q": 10})]
    assert parsed(lines, "RateLimit") == [("trial", {"r": 7})]


def test_names_and_switch_come_from_the_file() -> None:
    """0.61: renamed fields are renamed, switched off fields are not sent."""
    template = build_template([rpm(60, name='we"ird \\ name')], "w", NOW_MICRO)
    renamed = replace(ANSWERS, policy_field="X-Plan", limit_field="X-Rest")

    lines = render(prepare(template, renamed, legacy=None), (0,), NOW_MICRO)

    assert parsed(lines, "X-Plan")[0][0] == 'we"ird \\ name'
    assert parsed(lines, "X-Rest")[0][1]["r"] == 60
    off = replace(ANSWERS, ratelimit_enabled=False)
    assert render(prepare(template, off, legacy=None), (0,), NOW_MICRO) == b""


@pytest.mark.parametrize("legacy", ["delta", "epoch"])
def test_old_form_of_a_limit_that_never_resets_has_no_reset(legacy: str) -> None:
    template = build_template([extra("trial", 100, Window(WindowKind.NONE))], "w", NOW_MICRO)

    lines = render(prepare(template, ANSWERS, legacy=legacy), (3 * MICRO,), NOW_MICRO)

    assert lines.endswith(b"X-RateLimit-Limit: 100\r\nX-RateLimit-Remaining: 97\r\n")
    assert b"Reset" not in lines


@pytest.mark.parametrize(("legacy", "reset"), [("delta", 60), ("epoch", NOW_MICRO // MICRO + 60)])
def test_old_form_is_added_where_a_route_asks_for_it(legacy: str, reset: int) -> None:
    """B5."""
    template = build_template([rpm(60), monthly(50)], "w", NOW_MICRO)

    lines = render(prepare(template, ANSWERS, legacy=legacy), (20 * MICRO, MICRO), NOW_MICRO)

    assert lines.endswith(
        b"X-RateLimit-Limit: 60\r\nX-RateLimit-Remaining: 40\r\nX-RateLimit-Reset: %d\r\n" % reset
    )


def test_refund_of_this_very_request_is_told_already() -> None:
    template = build_template([rpm(60), monthly(50)], "w", NOW_MICRO)
    key = template.entries[1].key

    counts = with_refunds(template, (5 * MICRO, 5 * MICRO), {key: -MICRO})

    assert counts == (5 * MICRO, 4 * MICRO)
