"""What the golden errors of ``test_routes`` don't show: what the checks let pass."""

from pathlib import Path

import pytest

from gateway.config.settings import load
from gateway.config.snapshot import Snapshot
from tests.support.pricing_files import write_pricing

HEAD = """\
version: 1
pricing: pricing.json
policies:
  - {name: poll, window: 10s, cap: 5, scope: address}
  - {name: daily, window: day, meter: dc, cap: 5}
upstreams:
  app: {endpoints: ["http://127.0.0.1:9"]}
routes:
  - {name: base, match: {methods: [GET], path: /base}, upstream: app, limits: [poll, daily]}
"""


def compiled(folder: Path, *routes: str) -> Snapshot:
    write_pricing(folder / "pricing.json", lambda _: None)
    listed = "".join(f"  - {{upstream: app, {route}}}\n" for route in routes)
    (folder / "gateway.yaml").write_text(HEAD + listed)
    return load(folder / "gateway.yaml", environ={}, overrides={}).snapshot


def route(name: str, path: str, methods: str = "GET", more: str = "") -> str:
    return f'name: {name}, match: {{methods: [{methods}], path: "{path}"{more}}}'


def test_wider_and_narrower_templates_live_side_by_side(tmp_path: Path) -> None:
    """Only an equal template hides another: each of these is reached by some path."""
    snapshot = compiled(
        tmp_path,
        route("rest", "/a/**"), route("parameter", "/a/{id}"), route("literal", "/a/b"),
        route("post", "/a/b", "POST"), route("here", "/a/b", more=", hosts: [api.example]"),
        route("folder", "/a/b/"),
    )  # fmt: skip

    paths = (b"/a/x/y", b"/a/x", b"/a/b", b"/a/b/")
    found = [snapshot.matcher.match(b"GET", b"h", path) for path in paths]
    assert [r and r.name for r in found] == ["rest", "parameter", "literal", "folder"]


@pytest.mark.parametrize("first", ["GET", "HEAD"])
def test_route_for_head_is_no_shadow_of_one_for_get(tmp_path: Path, first: str) -> None:
    other = "HEAD" if first == "GET" else "GET"
    snapshot = compiled(tmp_path, route(first, "/x", first), route(other, "/x", other))

    for method in ("GET", "HEAD"):
        found = snapshot.matcher.match(method.encode(), b"", b"/x")
        assert found is not None
        assert found.name == method


@pytest.mark.parametrize(
    ("prefix", "path", "kept"),
    [("/v1", "/v1/**", b"/v1"), ("/v1/", "/v1/{id}", b"/v1"), ("/v1/a", "/v1/a", b"/v1/a")],
)
def test_prefix_of_whole_literal_segments_is_cut_off(
    tmp_path: Path, prefix: str, path: str, kept: bytes
) -> None:
    snapshot = compiled(tmp_path, f"{route('one', path)}, strip_prefix: {prefix}")

    assert snapshot.routes[-1].strip_prefix == kept


@pytest.mark.parametrize(
    "more",
    [
        "limits: [monthly_dc, hard_overage_cap, daily], cost: {dc: 0}",
        "limits: [rpm, poll], cost: {}",
        "auth: none, limits: [poll]",
        "limits: []",
    ],
)
def test_limits_that_can_apply_are_let_pass(tmp_path: Path, more: str) -> None:
    compiled(tmp_path, f"{route('one', '/one')}, {more}")
