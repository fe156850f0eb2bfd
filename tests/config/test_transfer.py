"""A configuration goes through a pipe unchanged, and nothing but a configuration comes out."""

from dataclasses import fields
from pathlib import Path

import pytest

from gateway.config.settings import load
from gateway.config.snapshot import RouteCounters
from gateway.config.transfer import Untransferable, dump, restore

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["gateway.yaml", "sidecar.yaml"])
def test_what_comes_out_is_what_went_in(name: str) -> None:
    before = load(ROOT / "policies" / name, environ={"REDIS_URL": "redis://h/0"}, overrides={})

    after = restore(dump(before))

    assert after.settings == before.settings
    assert after.files == before.files
    for field in fields(before.snapshot):
        if field.name != "matcher":
            expected = getattr(before.snapshot, field.name)
            assert getattr(after.snapshot, field.name) == expected, field.name
    found = after.snapshot.matcher.match(b"GET", b"", b"/echo/x")
    assert found is before.snapshot.matcher.match(b"GET", b"", b"/echo/x") or found is not None


def test_equal_parts_are_one_object_again() -> None:
    loaded = load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={})
    snapshot = restore(dump(loaded)).snapshot

    starter = snapshot.pricings[0].tiers["STARTER"]
    assert starter.ladders["monthly_dc"] is starter.ladders["hard_overage_cap"]
    assert snapshot.routes[0].upstream is snapshot.upstreams[0]


def test_routes_go_on_with_the_counters_that_are_given() -> None:
    loaded = load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={})
    chat = RouteCounters(requests=7)

    restored = restore(dump(loaded), {"chat": chat, "gone": RouteCounters()})

    by_name = {route.name: route for route in restored.snapshot.routes}
    assert by_name["chat"].counters is chat
    assert by_name["echo"].counters.requests == 0
    assert "gone" not in by_name
    found = restored.snapshot.matcher.match(b"POST", b"", b"/v1/chat/completions")
    assert found is by_name["chat"]


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"Popen": {}}', b'{"enum": ["os", "x"]}', b'{"Loaded": {"x": 1}}',
     b'{"path": "/"}', b'{"a": 1, "b": 2}'],
)  # fmt: skip
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(Untransferable):
        restore(text)


def test_what_has_no_place_in_a_configuration_is_not_sent() -> None:
    loaded = load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={})
    object.__setattr__(loaded, "files", (object(),))

    with pytest.raises(Untransferable):
        dump(loaded)
