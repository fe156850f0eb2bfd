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


def test_what_has_no_effect_is_a_warning(desk: OperatorDesk) -> None:
    make_certificate(desk.folder)
    text = desk.config.read_text()
    desk.config.write_text(
        f"{text}\nlimits: {{half_close: answer}}\n"
        "tls_certificate: certificate.pem\ntls_key: key.pem\n"
    )

    desk.run("check")
    assert "warning: " in desk.told
    warnings = {each["path"]: each["message"] for each in desk.json("check")["warnings"]}
    assert warnings["limits.half_close"].startswith("no effect on this listener")


def test_a_missing_file_is_a_fault(desk: OperatorDesk) -> None:
    assert desk.json("check", "--config", "no-such.yaml", expect=1)["valid"] is False
    desk.run("check", "--config", "no-such.yaml", expect=1)
    assert "no-such.yaml" in desk.told


@pytest.mark.parametrize(
    ("plan", "digest", "code", "told"),
    [
        ("STARTER", "0" * 64, 0, ", 1 key: no faults"),
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

    assert ", 1 key:" in desk.run("check", "--keys", "env:GATEWAY_TEST_KEYS")

    monkeypatch.setenv("GATEWAY_TEST_KEYS", "acme")
    desk.run("check", "--keys", "env:GATEWAY_TEST_KEYS", expect=1)


@pytest.mark.parametrize("place", ["file:keys.yaml", "env:GATEWAY_TEST_KEYS"])
@pytest.mark.parametrize("plan", ["STARTER", "BASIC"])
def test_plans_are_those_of_the_prices_in_force_and_to_come(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch, place: str, plan: str
) -> None:
    """A3: a plan that later prices lack would lock its workspaces out when they begin."""

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

    told = desk.run("check", "--keys", place, expect=1) + desk.told

    later = "the plan STARTER is missing in 2098-01-01.v9.9.9, in force from 2098-01-01T00:00:00Z"
    assert (later in told) is (plan == "STARTER")
    assert ("no plan is called BASIC" in told) is (plan == "BASIC")


def test_a_key_that_can_not_be_accepted_is_named(desk: OperatorDesk) -> None:
    digest = hashlib.sha256(b"sk-old").hexdigest()
    (desk.folder / "keys.yaml").write_text(
        "version: 1\nworkspaces:\n  - {id: acme, plan: STARTER, keys: [\n"
        f"      {{id: old, prefix: sk-, sha256: {digest}}}]}}\n"
    )

    assert ", 1 key: no faults" in desk.run("check", "--keys", "file:keys.yaml")
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
    assert f"warning: {desk.config}:{line}:1: (file): a password is written out" in desk.told
    assert "hunter2" not in desk.told

    desk.config.write_text(routes)
    desk.run("check")
    assert "a password is written out" not in desk.told


def test_every_file_tells_its_faults_in_one_run(desk: OperatorDesk) -> None:
    """No broken file hides what is wrong with the others, not even one that is no YAML."""
    (desk.folder / "bad.json").write_text('{"pricing_version": 1}')
    (desk.folder / "keys.yaml").write_text("version: 2\n")
    desk.config.write_text(
        "version: [\npricing:\n  - bad.json\nkeys: file:keys.yaml\n"
        "tls_certificate: gone.pem\ntls_key: gone.key\n"
    )

    found = desk.json("check", expect=1)["faults"]

    told = {(Path(fault["file"]).name, fault["path"]) for fault in found}
    assert ("gateway.yaml", "(file)") in told
    assert ("gateway.yaml", "tls_certificate") in told
    assert ("bad.json", "pricing_version") in told
    assert ("keys.yaml", "version") in told


def test_warnings_are_told_to_people_and_programs(desk: OperatorDesk) -> None:
    assert "warning: " in (desk.run("check") and desk.told)
    found = desk.json("check")

    assert found["valid"]
    assert any("not enforced" in warning["message"] for warning in found["warnings"])


def test_plans_in_use_are_asked_of_the_database(desk: OperatorDesk) -> None:
    desk.run("workspaces", "create", "acme", "--plan", "STARTER")
    desk.run("check")

    def without(document: Document) -> None:
        document["tiers"] = [tier for tier in document["tiers"] if tier["tier"] != "STARTER"]

    write_pricing(desk.folder / "pricing.json", without)
    desk.run("check", expect=1)
    assert "tiers: the plan STARTER is missing" in desk.told
    assert "in use by the workspace acme" in desk.told


def test_a_database_that_is_away_is_a_warning(desk: OperatorDesk) -> None:
    found = desk.json("check", "--keys", "postgresql://127.0.0.1:1/gone")

    assert any("the plans in use are not compared" in w["message"] for w in found["warnings"])
