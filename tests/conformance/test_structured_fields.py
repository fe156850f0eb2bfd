"""What the gateway writes and reads of structured fields, judged by http-sf (RFC 9651)."""

from dataclasses import replace

import http_sf
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.ratelimit import prepare, render
from gateway.http.run_ids import unquote
from gateway.rules.charging import build_template
from gateway.rules.units import MICRO
from tests.support.plans import ANSWERS, NOW_MICRO, rpm

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
LIMITS = st.lists(
    st.tuples(PRINTABLE, st.integers(1, 9_000_000_000), st.integers(1, 31_536_000)),
    min_size=1,
    max_size=5,
    unique_by=lambda limit: limit[0],
)


@given(LIMITS)
def test_any_names_caps_and_windows_become_lists_that_say_just_that(
    limits: list[tuple[str, int, int]],
) -> None:
    ladders = [
        replace(rpm(cap, seconds=seconds, name=name), id=f"limit-{n}", counter=f"limit-{n}")
        for n, (name, cap, seconds) in enumerate(limits)
    ]
    template = build_template(ladders, "w", NOW_MICRO)

    lines = render(prepare(template, ANSWERS, legacy=None), (0,) * len(limits), NOW_MICRO)

    fields = dict(line.split(b": ", 1) for line in lines.removesuffix(b"\r\n").split(b"\r\n"))
    policies = http_sf.parse(fields[b"RateLimit-Policy"], tltype="list")
    states = http_sf.parse(fields[b"RateLimit"], tltype="list")
    assert policies == [(name, {"q": cap, "w": seconds}) for name, cap, seconds in limits]
    assert [(name, state["r"]) for name, state in states] == [
        (name, cap) for name, cap, _ in limits
    ]
    assert all(
        0 < state["t"] <= seconds for (_, state), (*_, seconds) in zip(states, limits, strict=True)
    )
    assert all(entry.ladder.soft.limit_micro % MICRO == 0 for entry in template.entries)


@given(PRINTABLE)
def test_a_run_id_that_is_a_string_is_read_as_what_it_says(text: str) -> None:
    value = http_sf.ser((text, {})).encode()

    assert http_sf.parse(value, tltype="item")[0] == text
    assert unquote(value) == text.encode()
