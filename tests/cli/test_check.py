"""``gateway check`` finds every mistake at once and starts nothing."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.support.operator_desk import OperatorDesk
from tests.support.pricing_files import Document, write_pricing
from tests.support.redis_tls import make_certificate

ROOT = Path(__file__).parents[2]


def test_a_right_configuration_is_told_in_one_line(desk: OperatorDesk) -> None:
    assert desk.run("check").endswith("gateway.yaml: 2 routes, 4 plans: no faults\n")
    assert not (desk.folder / "data").exists(), "a check creates nothing"


def test_the_shipped_configuration_is_right(desk: OperatorDesk) -> None:
    found = desk.json("check", "--config", str(ROOT / "policies" / "gateway.yaml"))

    assert found["valid"] is True
    assert "create-run" in found["routes"]


def test_every_fault_is_told_with_its_place(desk: OperatorDesk) -> None:
    text = desk.config.read_text()
    desk.config.write_text(
        text.replace("upstream: runs", "upstream: rums", 1).replace("requires", "reqires")
    )

    desk.run("check", expect=1)

    assert "gateway.yaml:" in desk.told
    assert "hint: " in desk.told


def test_faults_are_told_to_programs_too(desk: OperatorDesk) -> None:
    desk.config.write_text(desk.config.read_text().replace("upstream: runs", "upstream: rums"))

    found = desk.json("check", expect=1)

    assert found["valid"] is False
    assert {"file", "line", "column", "path", "message", "expected"} <= set(found["faults"][0])


def test_a_missing_file_is_a_fault(desk: OperatorDesk) -> None:
    assert desk.json("check", "--config", "no-such.yaml", expect=1)["valid"] is False
    desk.run("check", "--config", "no-such.yaml", expect=1)
    assert "no-such.yaml" in desk.told


@pytest.mark.parametrize(
    ("plan", "digest", "code", "told"),
    [
        ("STARTER", "0" * 64, 0, ", 1 keys: no faults"),
        ("GOLD", "0" * 64, 1, "keys.yaml:3:22: workspaces[0].plan: no plan is called GOLD"),
        ("STARTER", "xyz", 1, "keys.yaml:4"),
    ],
)
def test_a_keys_file_is_checked_as_well(
    desk: OperatorDesk, plan: str, digest: str, code: int, told: str
) -> None:
    """B3: keys without a database."""
    (desk.folder / "keys.yaml").write_text(
        f"version: 1\nworkspaces:\n  - {{id: acme, plan: {plan}, keys: [\n"
        f'      {{id: k, sha256: "{digest}"}}]}}\n'
    )

    out = desk.run("check", "--keys", "file:keys.yaml", expect=code)

    assert told in out + desk.told


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_listeners_certificate_is_opened(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `serve` could not begin with is no configuration without faults."""
    key, certificate = make_certificate(desk.folder)
    other, _ = make_certificate(desk.folder, "other-")
    routes = desk.config.read_text()
    tls = f"tls_certificate: {certificate.name}\ntls_key: {key.name}\n"
    desk.config.write_text(routes + tls)
    desk.run("check")

    desk.config.write_text(routes + tls.replace(key.name, other.name))
    desk.run("check", expect=1)
    line = routes.count("\n") + 2
    assert f"gateway.yaml:{line}:10: tls_key: " in desk.told
    assert "it is not the key of tls_certificate" in desk.told

    desk.run("routes")  # whoever asks for something else need not be able to read the key

    monkeypatch.setenv("GATEWAY_TLS_CLIENT_CA", "/nowhere/ca.pem")
    desk.config.write_text(routes + tls)
    (fault,) = desk.json("check", expect=1)["faults"]
    assert (fault["file"], fault["path"]) == ("$GATEWAY_TLS_CLIENT_CA", "tls_client_ca")
    assert "No such file" in fault["message"]


def test_keys_in_a_variable_are_checked_as_well(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    monkeypatch.setenv("GATEWAY_TEST_KEYS", f"acme:STARTER:{digest}")

    assert "1 keys" in desk.run("check", "--keys", "env:GATEWAY_TEST_KEYS")

    monkeypatch.setenv("GATEWAY_TEST_KEYS", "acme")
    desk.run("check", "--keys", "env:GATEWAY_TEST_KEYS", expect=1)


@pytest.mark.parametrize("place", ["file:keys.yaml", "env:GATEWAY_TEST_KEYS"])
@pytest.mark.parametrize(("plan", "code"), [("STARTER", 0), ("BASIC", 1)])
def test_plans_are_those_of_the_prices_in_force(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch, place: str, plan: str, code: int
) -> None:
    """A3: prices that begin later are no reason to refuse what works today, but one to warn."""

    def later(document: Document) -> None:
        text = json.dumps(document).replace("STARTER", "BASIC")
        document.clear()
        document.update(json.loads(text))
        document.update(pricing_version="2098-01-01.v9.9.9", effective_from="2098-01-01T00:00:00Z")

    write_pricing(desk.folder / "later.json", later)
    routes = desk.config.read_text()
    desk.config.write_text(routes.replace("pricing.json", "[pricing.json, later.json]"))
    digest = hashlib.sha256(b"x").hexdigest()
    monkeypatch.setenv("GATEWAY_TEST_KEYS", f"acme:{plan}:{digest}")
    (desk.folder / "keys.yaml").write_text(
        f"version: 1\nworkspaces:\n  - {{id: acme, plan: {plan}}}\n"
    )

    told = desk.run("check", "--keys", place, expect=code) + desk.told

    assert ("no plan is called STARTER in 2098-01-01.v9.9.9" in told) is (plan == "STARTER")
    assert ("no plan is called BASIC" in told) is (plan == "BASIC")


def test_a_key_that_can_not_be_accepted_is_named(desk: OperatorDesk) -> None:
    digest = hashlib.sha256(b"sk-old").hexdigest()
    (desk.folder / "keys.yaml").write_text(
        "version: 1\nworkspaces:\n  - {id: acme, plan: STARTER, keys: [\n"
        f"      {{id: old, prefix: sk-, sha256: {digest}}}]}}\n"
    )

    assert ", 1 keys: no faults" in desk.run("check", "--keys", "file:keys.yaml")
    assert desk.told.startswith("warning: ")
    assert "key 'old' was made elsewhere" in desk.told
    assert digest not in desk.told

    desk.config.write_text(desk.config.read_text() + "foreign_keys: true\n")
    desk.run("check", "--keys", "file:keys.yaml")
    assert "16 to 512 bytes" in desk.told


def test_a_key_in_the_place_of_its_hash_is_a_fault_that_does_not_show_it(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_KEYS", f"acme:STARTER:{'1' * 64},acme:STARTER:my-old-key-123")

    desk.run("check", "--keys", "env:GATEWAY_TEST_KEYS", expect=1)

    assert "$GATEWAY_TEST_KEYS:1:79: [1]: not a SHA-256" in desk.told
    assert "my-old-key-123" not in desk.told


def test_a_password_in_the_route_file_is_warned_of_and_not_repeated(desk: OperatorDesk) -> None:
    """B11: secrets stand in the environment."""
    routes = desk.config.read_text()
    desk.config.write_text(routes + "counters: redis://:hunter2@127.0.0.1:6379/0\n")

    assert "no faults" in desk.run("check")
    line = routes.count("\n") + 1
    assert desk.told.startswith(f"warning: {desk.config}:{line}: a password is written out")
    assert "hunter2" not in desk.told

    desk.config.write_text(routes)
    desk.run("check")
    assert desk.told == ""
