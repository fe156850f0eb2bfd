"""``gateway workspaces``: the tenants that are limited and billed."""

from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config, DataDir, Keys, LedgerUrl
from gateway.cli.context import open_desk
from gateway.control import workspaces as control
from gateway.keys.port import Workspace, WorkspaceStatus

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Workspaces: create, list, change plan or status.",
)

COLUMNS = {
    "workspace_id": "WORKSPACE",
    "plan": "PLAN",
    "status": "STATUS",
    "created_at": "CREATED",
}

WorkspaceId = Annotated[str, typer.Argument(help="The workspace's id.")]


@app.command()
def create(
    *,
    workspace: WorkspaceId,
    plan: Annotated[str, typer.Option(help="A tier of the pricing file.")],
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Create an active workspace on a plan."""
    desk = open_desk(config, makes_databases=True, data_dir=data_dir, ledger=ledger, keys=keys)
    created = control.create_workspace(
        desk.registry, desk.pricing, desk.clock, workspace_id=workspace, plan=plan
    )
    output.facts(_described(created), as_json=as_json)


@app.command("list")
def list_workspaces(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 1_000,
    after: Annotated[str, typer.Option(help="Begin after this id, for the next page.")] = "",
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """List workspaces with plan and status."""
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    known = desk.registry.workspaces(limit=limit + 1, after=after)
    found = [_described(entry) for entry in known[:limit]]
    output.rows(found, COLUMNS, as_json=as_json, empty="There are no workspaces yet.")
    if len(known) > limit:
        last = known[limit - 1].workspace_id
        output.note(f"There are more than these {limit}: see --limit, or go on with --after {last}")


@app.command("set")
def change(
    *,
    workspace: WorkspaceId,
    plan: Annotated[str | None, typer.Option(help="Move it to this plan.")] = None,
    status: Annotated[
        WorkspaceStatus | None, typer.Option(help="Let it call, stop it, or ask for payment.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Change plan, status or both; its keys follow at once."""
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    changed = control.change_workspace(
        desk.registry, desk.pricing, workspace, plan=plan, status=status
    )
    output.facts(_described(changed), as_json=as_json)


def _described(workspace: Workspace) -> dict[str, object]:
    return {
        "workspace_id": workspace.workspace_id,
        "plan": workspace.plan,
        "status": workspace.status.value,
        "created_at": output.instant(workspace.created_at_micro),
    }
