"""Every field of the route file arrives in the snapshot; versions of prices switch over in time."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.route_schema import schema
from gateway.config.settings import load
from gateway.config.snapshot import (
    CostSource,
    FailurePolicy,
    LegacyFields,
    RunIdSource,
    Snapshot,
    TunnelMeter,
    TunnelRules,
    TunnelUnit,
)
from gateway.errors import ConfigError
from gateway.rules.limits import LimitKind, Scope
from gateway.rules.units import MICRO
from tests.support.pricing_files import Document, pricing_document, tier_of, write_pricing

ROOT = Path(__file__).parents[2]
FULL = """\
version: 1
pricing: pricing.json
identity_headers: [X-Who]
trusted_proxies: [10.0.0.0/8]
via: edge
access_log: {sample: 0.25}
paths: {ambiguous: normalise, merge_slashes: true}
limits: {head: 16KiB, target: 9000, json_body: 1MB, keep_alive: 5s, connections: 7}
store: {local_share_percent: 33}
policies:
  - {name: poll, kind: quota, meter: dc, window: day, cap: 5, scope: key, action: warn}
upstreams:
  app:
    endpoints: ["http://a:1", "https://b", "unix:/run/app.sock"]
    timeouts: {connect: 2s, first_byte: 3s, idle: 4s, total: 5s}
    preserve_host: false
routes:
  - name: full
    match: {methods: [POST], path: "/v1/{id}/**", hosts: [api.example]}
    upstream: app
    auth: {key: [header:X-Key], forward_key: true, forward_identity: true}
    requires: [replay]
    limits: [rpm, monthly_dc, poll]
    cost: {dc: {reserve: {json: /a~1b/0, default: 2}, settle: {header: X-Used}}}
    run_id: {json: /run, required: true}
    on_store_failure: open
    legacy_headers: epoch
    ratelimit_upstream: replace
    max_body: 5kB
    strip_prefix: /v1
  - {name: open, match: {methods: [GET], path: /}, upstream: app, auth: none}
  - {name: plain, match: {methods: [GET], path: /p}, upstream: app,
     tunnel: {idle: 2m, meter: {meter: dc, by: seconds, per_unit: 60, slice: 5}}}
"""


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    write_pricing(tmp_path / "pricing.json", lambda _: None)
    (tmp_path / "g.yaml").write_text(FULL)
    return load(tmp_path / "g.yaml", environ={}, overrides={}).snapshot


def test_every_field_of_a_route_arrives(snapshot: Snapshot) -> None:
    """X3."""
    full, opened, plain = snapshot.routes

    assert [s.literal for s in full.path] == [b"v1", None, None]
    assert [s.is_rest for s in full.path] == [False, False, True]
    assert (full.methods, full.hosts) == ({b"POST"}, {b"api.example"})
    assert [(p.header, p.bearer) for p in full.auth.places] == [(b"x-key", False)]
    assert full.auth.forward_key
    assert full.auth.forward_identity
    assert full.requires == {"replay"}
    assert full.limits == ("rpm", "monthly_dc")
    (poll,) = full.own_limits
    assert (poll.kind, poll.scope, poll.soft.limit_micro) == (LimitKind.QUOTA, Scope.KEY, 5 * MICRO)
    (cost,) = full.cost
    assert (cost.reserve.source, cost.reserve.pointer) == (CostSource.JSON, ("a/b", "0"))
    assert cost.reserve.default_micro == 2 * MICRO
    assert cost.settle is not None
    assert cost.settle.header == b"x-used"
    assert full.run_id is not None
    assert (full.run_id.source, full.run_id.required) == (RunIdSource.JSON, True)
    assert full.on_store_failure is FailurePolicy.OPEN
    assert full.legacy_fields is LegacyFields.EPOCH
    assert full.replace_upstream_ratelimit
    assert (full.body_bytes_max, full.strip_prefix) == (5000, b"/v1")
    assert (opened.auth.places, opened.limits, opened.cost, opened.run_id) == ((), (), (), None)
    assert plain.limits == ("rpm", "monthly_dc", "hard_overage_cap")
    assert plain.run_id is not None
    assert plain.run_id.header == b"idempotency-key"
    assert plain.cost[0].reserve.default_micro == MICRO
    assert (full.tunnel, opened.tunnel) == (None, None)
    meter = TunnelMeter("dc", TunnelUnit.SECONDS, per_unit=60, slice_units=5)
    assert plain.tunnel == TunnelRules(idle_seconds=120.0, meter=meter)


def test_everything_else_arrives_too(snapshot: Snapshot) -> None:
    (app,) = snapshot.upstreams

    assert [(e.host, e.port, e.tls, e.unix_path) for e in app.endpoints] == [
        ("a", 1, False, None), ("b", 443, True, None), ("localhost", 0, False, "/run/app.sock"),
    ]  # fmt: skip
    assert (app.timeouts.connect_seconds, app.timeouts.total_seconds) == (2, 5)
    assert not app.timeouts.total_of_plan
    assert not app.preserve_host
    assert snapshot.limits.head_bytes_max == 16_384
    assert snapshot.limits.connections_max == 7
    assert snapshot.paths.normalise
    assert snapshot.access_log.sample_per_million == 250_000
    assert snapshot.via == b"edge"
    assert snapshot.local_share_percent == 33
    assert b"x-who" in snapshot.identity_fields
    assert b"x-gateway-workspace" in snapshot.identity_fields
    assert str(snapshot.trusted_proxies[0]) == "10.0.0.0/8"


def test_schema_for_editors_is_published_and_knows_the_sample() -> None:
    """A19, 0.23."""
    published = json.loads((ROOT / "fixtures" / "route_file_schema.json").read_text())
    packaged = ROOT / "gateway" / "config" / "schema" / "route_file_schema.json"

    assert published == schema() == json.loads(packaged.read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    good = yaml.safe_load((ROOT / "policies" / "gateway.yaml").read_text())
    assert list(validator.iter_errors(good)) == []
    assert list(validator.iter_errors(good | {"nonsense": 1}))
    assert list(validator.iter_errors(good | {"ledger": None}))


def two_versions(
    folder: Path, change: Callable[[Document], object] = lambda _: None, text: str = FULL
) -> Snapshot:
    """Return the snapshot of two versions, the second one changed."""
    for name, version, start in (
        ("old", "2026-01-01.v1.0.0", "2026-01-01T00:00:00Z"),
        ("new", "2026-06-01.v2.0.0", "2026-06-01T00:00:00Z"),
    ):
        document = pricing_document() | {"pricing_version": version, "effective_from": start}
        if name == "new":
            change(document)
        (folder / f"{name}.json").write_text(json.dumps(document))
    (folder / "g.yaml").write_text(text.replace("pricing.json", "[new.json, old.json]"))
    return load(folder / "g.yaml", environ={}, overrides={}).snapshot


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return two_versions(tmp_path_factory.mktemp("versions"))


JANUARY, JUNE = 1_767_225_600 * MICRO, 1_780_272_000 * MICRO


@given(st.integers(JANUARY - 10**13, JUNE + 10**13))
def test_version_in_force_is_chosen_by_time(versions: Snapshot, at_micro: int) -> None:
    """A3, 0.56: a second version beside the first, ``effective_from`` switches over."""
    found = versions.pricing_at(at_micro)

    expected = None if at_micro < JANUARY else "2026-01-01" if at_micro < JUNE else "2026-06-01"
    assert (found.version[:10] if found else None) == expected


def seoul(document: Document) -> None:
    document["timezone"] = "Asia/Seoul"


def count(document: Document) -> None:
    document["meter"]["aggregation"] = "count"


def peak(document: Document) -> None:
    document["meter"]["aggregation"] = "max"
    for name in ("SANDBOX", "STARTER", "GROWTH"):
        tier_of(document, name)["limits"] |= {"monthly_quota_dc": 0, "hard_overage_dc_cap": 0}


@pytest.mark.parametrize("window", ["hour", "day", "calendar_month"])
def test_a_policy_follows_one_clock(tmp_path: Path, window: str) -> None:
    """A period of the route file can't be that of two zones."""
    with pytest.raises(ConfigError) as caught:
        two_versions(tmp_path, seoul, FULL.replace("window: day", f"window: {window}"))

    (fault,) = caught.value.faults
    assert fault.path == "policies[0].window"
    assert fault.message == "the versions of the pricing have several time zones: Asia/Seoul, UTC"


@pytest.mark.parametrize("window", ["60s", "none"])
def test_a_policy_without_a_calendar_needs_no_zone(tmp_path: Path, window: str) -> None:
    two_versions(tmp_path, seoul, FULL.replace("window: day", f"window: {window}"))


def test_a_policy_follows_the_zone_of_the_pricing(tmp_path: Path) -> None:
    write_pricing(tmp_path / "pricing.json", seoul)
    (tmp_path / "g.yaml").write_text(FULL)
    snapshot = load(tmp_path / "g.yaml", environ={}, overrides={}).snapshot

    assert snapshot.routes[0].own_limits[0].window.timezone == "Asia/Seoul"


@pytest.mark.parametrize(("meter", "counts_calls"), [("dc", True), ("requests", False)])
def test_a_policy_on_the_billed_meter_counts_as_it_is_billed(
    tmp_path: Path, meter: str, *, counts_calls: bool
) -> None:
    write_pricing(tmp_path / "pricing.json", count)
    (tmp_path / "g.yaml").write_text(FULL.replace("kind: quota, meter: dc", f"meter: {meter}"))
    snapshot = load(tmp_path / "g.yaml", environ={}, overrides={}).snapshot

    assert snapshot.routes[0].own_limits[0].counts_calls is counts_calls


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (count, "the versions of the pricing add dc up in several ways"),
        (peak, "a peak can't be limited (meter.aggregation is max)"),
    ],
)
def test_a_policy_on_the_billed_meter_is_refused_where_it_can_not_count_so(
    tmp_path: Path, change: Callable[[Document], object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        two_versions(tmp_path, change)

    assert [(fault.path, fault.message) for fault in caught.value.faults] == [
        ("policies[0].meter", message)
    ]
