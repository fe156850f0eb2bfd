"""Who may come in: keys, rotation, features, networks, and identity from the key alone."""

from pathlib import Path

import pytest

from gateway.control.keys import revoke_key, rotate_key
from gateway.process.clock import SystemClock
from tests.support.gateway_process import GatewayProcess, body_of, wait_until
from tests.support.scripted_upstream import ScriptedUpstream

ROUTES = """\
- {name: open, match: {methods: [GET], path: /open}, upstream: app, auth: none}
- {name: replay, match: {methods: [GET], path: /replay}, upstream: app, requires: [replay]}
- name: told
  match: {methods: [GET], path: /told}
  upstream: app
  auth: {forward_key: true, forward_identity: true}
- {name: all, match: {methods: [GET], path: "/**"}, upstream: app}
"""


@pytest.fixture
def gateway(tmp_path: Path, upstream: ScriptedUpstream):  # noqa: ANN201
    """A running gateway with these routes."""
    gateway = GatewayProcess(tmp_path, upstream.port, routes=ROUTES).start()
    yield gateway
    assert gateway.stop() == 0


def test_keys_open_the_door_and_nothing_else_does(gateway: GatewayProcess) -> None:
    """X2, B2: both places; unknown, mistyped and missing keys are 401 with a challenge."""
    key = gateway.make_key("SANDBOX")
    assert gateway.call(key).status_code == 200
    assert gateway.call(None, headers={"Authorization": f"Bearer {key}"}).status_code == 200
    for wrong in (key[:-1] + ("a" if key[-1] != "a" else "b"), "nonsense", "egw_live_" + "x" * 28):
        refused = gateway.call(wrong)
        assert refused.status_code == 401
        assert "WWW-Authenticate" in refused.headers
        assert wrong not in refused.text
    assert body_of(gateway.call(None))["code"] == "key_missing"
    assert gateway.call(None, "/open").status_code == 200
    both = gateway.call(key, headers={"Authorization": "Bearer other-key"})
    assert (both.status_code, body_of(both)["code"]) == (400, "key_ambiguous")


def test_revocation_is_in_force_within_a_second(gateway: GatewayProcess) -> None:
    """B2, 1.13: without a restart; a rotated key lives through its overlap."""
    key = gateway.make_key("SANDBOX")
    assert gateway.call(key).status_code == 200
    registry, clock = gateway.registry(), SystemClock()
    (described,) = registry.keys("acme", limit=10)
    fresh = rotate_key(registry, clock, described.key_id, overlap_seconds=3600)
    assert gateway.call(fresh.created.secret).status_code == 200
    assert gateway.call(key).status_code == 200

    revoke_key(registry, described.key_id)

    refused = wait_until(lambda: (a := gateway.call(key)).status_code == 401 and a, 1.0)
    assert body_of(refused)["code"] == "key_revoked"
    assert gateway.call(fresh.created.secret).status_code == 200


def test_features_and_networks_gate_routes(gateway: GatewayProcess) -> None:
    """A14, B2."""
    plain = gateway.make_key("STARTER")
    refused = gateway.call(plain, "/replay")
    assert (refused.status_code, body_of(refused)["missing_features"]) == (403, ["replay"])
    able = gateway.make_key("GROWTH", workspace="growth")
    assert gateway.call(able, "/replay").status_code == 200
    narrowed = gateway.make_key("GROWTH", workspace="growth", features=())
    assert gateway.call(narrowed, "/replay").status_code == 403
    elsewhere = gateway.make_key("GROWTH", workspace="growth", networks=("192.0.2.0/24",))
    assert body_of(gateway.call(elsewhere))["code"] == "address_not_allowed"


def test_expired_key_is_refused(gateway: GatewayProcess) -> None:
    """B2."""
    clock = SystemClock()
    soon_micro = clock.now_micro() + 300_000
    key = gateway.make_key("SANDBOX", expires_at_micro=soon_micro)

    refused = wait_until(lambda: (a := gateway.call(key)).status_code == 401 and a)

    assert body_of(refused)["code"] == "key_expired"


def test_t38_identity_comes_from_the_key_alone(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    """T38, C1: an inbound tenant header is dropped, the key stays here unless a route says so."""
    key = gateway.make_key("SANDBOX")
    claims = {"X-Tenant-Id": "other", "X-Gateway-Workspace": "other", "X-Forwarded-For": "6.6.6.6"}

    gateway.call(key, headers=claims)
    gateway.call(key, "/told", headers=claims)

    plain, told = (fields for _, _, fields in upstream.seen)
    assert not {"x-tenant-id", "x-gateway-workspace", "x-api-key"} & plain.keys()
    assert plain["x-forwarded-for"] == "127.0.0.1"
    assert told["x-gateway-workspace"] == "acme"
    assert told["x-gateway-plan"] == "SANDBOX"
    assert told["x-api-key"] == key
    assert "x-tenant-id" not in told


def everything_of_a_process(number: int) -> bytes:
    """Return a process's command line and environment, with those of its children."""
    folder = Path("/proc", str(number))
    children = (folder / "task" / str(number) / "children").read_text().split()
    own = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
    return own + b"".join(everything_of_a_process(int(child)) for child in children)


def test_secrets_are_nowhere_but_with_the_caller(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """C14, 1.9: data, journal, events, the whole access log and the process list hold no key."""
    gateway = GatewayProcess(tmp_path, upstream.port, routes=ROUTES)
    gateway.config.write_text(gateway.config.read_text().replace("sample: 0", "sample: 1"))
    access = tmp_path / "access.log"
    with access.open("wb") as stdout:
        gateway.start(stdout=stdout)
    try:
        key = gateway.make_key("SANDBOX")
        mistyped = key[:-1] + ("a" if key[-1] != "a" else "b")
        gateway.call(key)
        gateway.call(None, headers={"Authorization": f"Bearer {key}"})
        gateway.call(key, f"/in/path/{key}?key={key}", headers={"User-Agent": key, "Referer": key})
        gateway.call(key, headers={"Authorization": "Bearer another-one"})
        gateway.call(mistyped)
        gateway.wait_for_records(5)
        wait_until(lambda: access.read_bytes().count(b"\n") == 5)
        assert gateway.process is not None
        processes = everything_of_a_process(gateway.process.pid)
    finally:
        gateway.stop()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    secrets = [secret.rpartition("_")[2].encode() for secret in (key, mistyped)]
    assert len(files) > 4
    assert b"gateway.process" in processes
    for secret in (*secrets, b"another-one"):
        assert not [path for path in files if secret in path.read_bytes()]
        assert secret not in processes


def test_t16_use_of_a_key_is_noted_at_most_once_an_hour() -> None:
    """T16: the worker asks ``LastUsed`` what is due once a minute."""
    from gateway.keys.last_used import LastUsed  # noqa: PLC0415

    used, hour_micro = LastUsed(), 3_600_000_000
    written = 0
    for minute in range(180):
        now_micro = hour_micro + minute * 60_000_000
        used.note("k", now_micro)
        written += len(used.due(now_micro))

    assert written == 3


def test_keys_from_a_file_or_a_variable_need_no_database(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """B3: GitOps, sidecars, and a rollout without the control plane."""
    from gateway.keys.format import generate  # noqa: PLC0415

    made = generate("test")
    (tmp_path / "keys.yaml").write_text(
        "version: 1\nworkspaces:\n- id: filed\n  plan: SANDBOX\n  keys:\n"
        f"  - {{id: k1, sha256: {made.key_hash.hex()}}}\n"
    )
    gateway = GatewayProcess(tmp_path, upstream.port, top="keys: file:keys.yaml").start()
    try:
        assert gateway.call(made.secret).status_code == 200
        other = generate("test")
        (tmp_path / "keys.yaml").write_text(
            "version: 1\nworkspaces:\n- id: filed\n  plan: SANDBOX\n  keys:\n"
            f"  - {{id: k2, sha256: {other.key_hash.hex()}}}\n"
        )
        wait_until(lambda: gateway.call(other.secret).status_code == 200, 3)
        assert gateway.call(made.secret).status_code == 401
    finally:
        gateway.stop()
