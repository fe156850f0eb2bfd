"""Workspaces: create, find, move to another plan, suspend.

A plan belongs to the workspace and must exist in the pricing file; no client ever chooses it.
Source: requirements B2, C1.
"""

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.keys.port import KeyRegistry, Workspace, WorkspaceStatus
from gateway.rules.identifiers import NEW_ID_WORDS, is_new_id, suggestion, wrong_with_id
from gateway.rules.plan import Pricing, Tier


def tier_of(pricing: Pricing, plan: str) -> Tier:
    """Return a plan's tier.

    Raises:
        GatewayError: the pricing version in force has no such tier.
    """
    tier = pricing.tiers.get(plan)
    if tier is None:
        raise GatewayError(
            "plan.unknown",
            f"the pricing version {pricing.version} has no plan {plan!r}",
            suggestion(plan, pricing.tiers),
        )
    return tier


def find_workspace(registry: KeyRegistry, workspace_id: str) -> Workspace:
    """Return a workspace.

    Raises:
        GatewayError: there is none of this id.
    """
    workspace = registry.workspace(workspace_id)
    if workspace is None:
        raise GatewayError(
            "workspace.unknown",
            f"there is no workspace {workspace_id!r}",
            "`gateway workspaces list` shows all of them",
        )
    return workspace


def create_workspace(
    registry: KeyRegistry, pricing: Pricing, clock: Clock, *, workspace_id: str, plan: str
) -> Workspace:
    """Add an active workspace.

    Raises:
        GatewayError: the id is not usable or taken, or the plan does not exist.
    """
    if not is_new_id(workspace_id):
        raise GatewayError(
            "workspace.id_invalid",
            f"{workspace_id!r} can't be a workspace's id: it {wrong_with_id(workspace_id)}",
            f"use {NEW_ID_WORDS}",
        )
    tier_of(pricing, plan)
    if registry.workspace(workspace_id) is not None:
        raise GatewayError(
            "workspace.exists",
            f"there already is a workspace {workspace_id!r}",
            "`gateway workspaces set` changes its plan or status",
        )
    workspace = Workspace(
        workspace_id=workspace_id,
        plan=plan,
        status=WorkspaceStatus.ACTIVE,
        created_at_micro=clock.now_micro(),
    )
    registry.create_workspace(workspace)
    return workspace


def change_workspace(
    registry: KeyRegistry,
    pricing: Pricing,
    workspace_id: str,
    *,
    plan: str | None = None,
    status: WorkspaceStatus | None = None,
) -> Workspace:
    """Set plan, status or both; its keys follow at once.

    Raises:
        GatewayError: there is no such workspace or plan, or nothing was asked for.
    """
    if plan is None and status is None:
        raise GatewayError(
            "workspace.nothing_to_change", "neither a plan nor a status was given", "give one"
        )
    if plan is not None:
        tier_of(pricing, plan)
    find_workspace(registry, workspace_id)
    return registry.update_workspace(workspace_id, plan=plan, status=status)
