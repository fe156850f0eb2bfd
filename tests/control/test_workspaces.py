"""Workspaces are created, moved and suspended by operators only (B2, C1)."""

import pytest

from gateway.control.workspaces import change_workspace, create_workspace, find_workspace
from gateway.errors import GatewayError
from gateway.keys.port import WorkspaceStatus
from tests.support.control_fakes import MemoryRegistry, pricing
from tests.support.fake_clock import FakeClock
from tests.support.plans import NOW_MICRO


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


def create(registry: MemoryRegistry, workspace_id: str = "acme", plan: str = "STARTER") -> None:
    create_workspace(
        registry, pricing(), FakeClock(NOW_MICRO), workspace_id=workspace_id, plan=plan
    )


def test_a_new_workspace_is_active_on_its_plan(registry: MemoryRegistry) -> None:
    create(registry)

    workspace = find_workspace(registry, "acme")
    assert workspace.plan == "STARTER"
    assert workspace.status is WorkspaceStatus.ACTIVE
    assert workspace.created_at_micro == NOW_MICRO


def test_a_plan_that_the_pricing_file_lacks_is_refused(registry: MemoryRegistry) -> None:
    """C2: unknown codes are refused, never taken as another plan (T12)."""
    with pytest.raises(GatewayError) as caught:
        create(registry, plan="PRO")

    assert caught.value.code == "plan.unknown"
    assert "SANDBOX, STARTER, ENTERPRISE" in caught.value.hint
    assert registry.by_workspace == {}


@pytest.mark.parametrize("workspace_id", ["", "a{b}", "}", "-a", "a b", "ä", "a" * 129, "a\n"])
def test_an_id_that_would_break_counter_keys_is_refused(
    registry: MemoryRegistry, workspace_id: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        create(registry, workspace_id)

    assert caught.value.code == "workspace.id_invalid"


def test_a_workspace_is_created_once(registry: MemoryRegistry) -> None:
    create(registry)

    with pytest.raises(GatewayError) as caught:
        create(registry, plan="ENTERPRISE")

    assert caught.value.code == "workspace.exists"
    assert find_workspace(registry, "acme").plan == "STARTER"


def test_plan_and_status_are_changed_apart(registry: MemoryRegistry) -> None:
    create(registry)

    change_workspace(registry, pricing(), "acme", status=WorkspaceStatus.SUSPENDED)
    change_workspace(registry, pricing(), "acme", plan="ENTERPRISE")

    workspace = find_workspace(registry, "acme")
    assert (workspace.plan, workspace.status) == ("ENTERPRISE", WorkspaceStatus.SUSPENDED)


@pytest.mark.parametrize(
    ("workspace_id", "plan", "code"),
    [
        ("acme", "PRO", "plan.unknown"),
        ("nobody", "STARTER", "workspace.unknown"),
        ("acme", None, "workspace.nothing_to_change"),
    ],
)
def test_a_change_that_makes_no_sense_changes_nothing(
    registry: MemoryRegistry, workspace_id: str, plan: str | None, code: str
) -> None:
    create(registry)

    with pytest.raises(GatewayError) as caught:
        change_workspace(registry, pricing(), workspace_id, plan=plan)

    assert caught.value.code == code
    assert find_workspace(registry, "acme").plan == "STARTER"
