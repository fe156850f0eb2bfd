"""Keys in a YAML file are listed like any others and changed by hand (B3)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.control.keys import KeyRequest, prepare_key
from gateway.control.written_keys import (
    WrittenRegistry,
    entry_text,
    foreign_warnings,
    plan_faults,
    read_variable,
    read_written,
)
from gateway.errors import ConfigError, GatewayError
from gateway.keys.document import parse_document
from gateway.keys.port import KeyEntry, KeyRegistry, Workspace, WorkspaceStatus
from tests.support.control_fakes import pricing
from tests.support.fake_clock import FakeClock

FILE = f"""\
version: 1
workspaces:
  - id: globex
    plan: GOLD
    status: suspended
    keys:
      - {{id: key_g, sha256: "{"0" * 64}", expires_at: 2027-01-01T00:00:00Z}}
  - id: acme
    plan: STARTER
    keys:
      - {{id: key_a, sha256: "{"1" * 64}", prefix: egw_live_abcd, cidrs: [10.0.0.0/8]}}
      - {{id: key_b, sha256: "{"2" * 64}", features: [sso, replay]}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(FILE)
    return path


def registry_of(path: Path) -> WrittenRegistry:
    return WrittenRegistry(read_written(path), str(path), is_watched=True)


def test_the_file_is_listed_like_a_registry(path: Path) -> None:
    registry = registry_of(path)

    assert [entry.workspace_id for entry in registry.workspaces(limit=10)] == ["acme", "globex"]
    assert [entry.workspace_id for entry in registry.workspaces(limit=1, after="acme")] == [
        "globex"
    ]
    assert registry.workspace("globex") == Workspace("globex", "GOLD", WorkspaceStatus.SUSPENDED, 0)
    assert registry.workspace("nobody") is None
    acme = registry.keys("acme", limit=10)
    assert [key.key_id for key in acme] == ["key_a", "key_b"]
    assert acme[0].networks == ("10.0.0.0/8",)
    assert acme[1].features == ("replay", "sso")
    assert len(registry.keys(None, limit=2)) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda registry: registry.create_workspace(
            Workspace("new", "STARTER", WorkspaceStatus.ACTIVE, 0)
        ),
        lambda registry: registry.update_workspace("acme", plan="SANDBOX", status=None),
        lambda registry: registry.update_workspace(
            "acme", plan=None, status=WorkspaceStatus.SUSPENDED
        ),
        lambda registry: registry.revoke_key("key_a", at_micro=None),
        lambda registry: registry.replace_key(
            "key_a", prepare_key(pricing(), FakeClock(), KeyRequest("acme")).key, ends_at_micro=1
        ),
        lambda registry: registry.create_key(
            prepare_key(pricing(), FakeClock(), KeyRequest("acme")).key
        ),
    ],
)
def test_what_would_change_the_file_says_how_to(
    path: Path, change: Callable[[KeyRegistry], Any]
) -> None:
    registry = registry_of(path)
    registry.touch_keys({"key_a": 1})

    with pytest.raises(GatewayError) as caught:
        change(registry)

    assert caught.value.code == "keys.read_only"
    assert str(path) in caught.value.message
    assert path.read_text() == FILE


def test_a_workspace_is_there_before_its_first_key_and_after_its_last(tmp_path: Path) -> None:
    """A17: it has a bill all the same."""
    path = tmp_path / "keys.yaml"
    path.write_text("version: 1\nworkspaces:\n  - {id: new, plan: STARTER}\n")
    registry = registry_of(path)

    assert [known.workspace_id for known in registry.workspaces(limit=9)] == ["new"]
    assert registry.plan_at("new", 0) == "STARTER"
    assert registry.key("key_a") is None
    assert plan_faults(read_written(path)[1], replace(pricing(), tiers={}), "keys.yaml")


def test_a_variable_is_listed_like_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS", f"acme:STARTER:{'1' * 64},acme:STARTER:{'2' * 64}")
    registry = WrittenRegistry(read_variable("KEYS"), "KEYS", is_watched=False)

    assert registry.plan_at("acme", 0) == "STARTER"
    (first, second) = registry.keys("acme", limit=9)
    assert registry.key(first.key_id) == first != second
    with pytest.raises(GatewayError) as caught:
        registry.revoke_key(first.key_id, at_micro=None)
    assert caught.value.hint.endswith("running gateways must be started again")
    monkeypatch.delenv("KEYS")
    with pytest.raises(GatewayError, match="not set"):
        read_variable("KEYS")


def test_a_plan_that_nobody_sells_is_found(path: Path) -> None:
    faults = plan_faults(read_written(path)[1], pricing(), str(path))

    assert [(fault.path, fault.message) for fault in faults] == [
        ("workspaces[globex].plan", "no plan is called GOLD")
    ]


@pytest.mark.parametrize("content", [None, b"\xff", b"version: 2\n"])
def test_a_file_that_can_not_be_used_is_a_fault_of_the_configuration(
    path: Path, content: bytes | None
) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    with pytest.raises(ConfigError):
        read_written(path)


def test_a_printed_entry_can_be_pasted_into_the_file() -> None:
    request = KeyRequest("acme", name="ci: nightly", features=("sso",), networks=("10.0.0.0/8",))
    created = prepare_key(pricing(), FakeClock(), request)

    lines = entry_text(created.key, "2027-01-01T00:00:00Z").splitlines()
    pasted = "version: 1\nworkspaces:\n- id: acme\n  plan: STARTER\n  keys:"
    pasted += "".join(f"\n  {line}" for line in lines) + "\n"

    (entry,) = parse_document(pasted, "keys.yaml").values()
    assert entry.key_id == created.key.key_id
    assert entry.key_hash == created.key.key_hash
    assert entry.features == frozenset({"sso"})
    assert created.secret not in pasted


OFF = "key 'k' was made elsewhere, as its prefix shows: it is refused unless"
ON = "1 keys were made elsewhere; one is refused unless it has 16 to 512 bytes"


@pytest.mark.parametrize(
    ("prefix", "accepts_foreign", "told"),
    [
        ("egw_live_aaaa", False, None),
        ("egw_live_aaaa", True, None),
        ("", False, None),
        ("", True, None),
        ("sk-", False, OFF),
        ("sk-", True, ON),
    ],
)
def test_keys_made_elsewhere_are_told_by_their_prefix(
    prefix: str, accepts_foreign: bool, told: str | None
) -> None:
    entry = KeyEntry("k", b"h", prefix, "acme", "STARTER")

    found = foreign_warnings({b"h": entry}, accepts_foreign=accepts_foreign)

    assert [text.startswith(told or "?") for text in found] == [True] * (told is not None)
