"""Keys in a YAML file or a variable are listed like any others and changed by hand (B3)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.control.keys import KeyRequest, prepare_key
from gateway.control.written_keys import read_variable
from gateway.control.written_registry import WrittenRegistry
from gateway.errors import GatewayError
from gateway.keys.port import KeyRegistry, Workspace, WorkspaceStatus
from tests.support.control_fakes import pricing
from tests.support.fake_clock import FakeClock
from tests.support.written_keys import FILE, registry_of, write_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_keys(tmp_path)


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


def test_a_variable_is_listed_like_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS", f"acme:STARTER:{'1' * 64},acme:STARTER:{'2' * 64}")
    registry = WrittenRegistry(read_variable("KEYS"), "KEYS", is_watched=False)

    assert registry.plan_at("acme", 0) == "STARTER"
    (first, second) = registry.keys("acme", limit=9)
    assert registry.key(first.key_id) == first != second
    with pytest.raises(GatewayError) as caught:
        registry.revoke_key(first.key_id, at_micro=None)
    assert caught.value.hint.endswith("running gateways must be started again")
