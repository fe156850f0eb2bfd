"""``gateway check`` finds every mistake at once and starts nothing."""

import hashlib
from pathlib import Path

import pytest

from tests.support.operator_desk import OperatorDesk

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
        ("GOLD", "0" * 64, 1, "no plan is called GOLD"),
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


def test_keys_in_a_variable_are_checked_as_well(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    monkeypatch.setenv("GATEWAY_TEST_KEYS", f"acme:STARTER:{digest}")

    assert "1 keys" in desk.run("check", "--keys", "env:GATEWAY_TEST_KEYS")

    monkeypatch.setenv("GATEWAY_TEST_KEYS", "acme")
    desk.run("check", "--keys", "env:GATEWAY_TEST_KEYS", expect=1)
