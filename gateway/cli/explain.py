"""``gateway explain``: what would happen to a request, and why. Counts and forwards nothing."""

import asyncio
import os
from dataclasses import asdict
from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config, Counters, DataDir, Keys, LedgerUrl
from gateway.cli.context import Desk, open_desk
from gateway.control import counts
from gateway.control.explain import (
    AskedCaller,
    Question,
    caller_of_key,
    explain,
)
from gateway.control.explanation import Explanation
from gateway.control.keys import find_key
from gateway.control.workspaces import find_workspace
from gateway.http.addresses import address_in

POLICY_COLUMNS = {
    "policy": "POLICY",
    "meter": "METER",
    "count": "COUNT",
    "cost": "COST",
    "limit": "LIMIT",
    "refuses_above": "REFUSES ABOVE",
    "resets_in_seconds": "RESETS IN (S)",
    "allows": "ALLOWS",
}


def show(
    *,
    method: Annotated[str, typer.Argument(help="GET, POST, ...")],
    path: Annotated[str, typer.Argument(help="The request's path.")],
    key: Annotated[str | None, typer.Option(help="Id of the calling key.")] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", "-w", help="The calling workspace, any key.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="'Name: value'; repeatable.")
    ] = None,
    body: Annotated[str, typer.Option("--body", "-d", help="The request's body.")] = "",
    address: Annotated[str | None, typer.Option(help="The client's address.")] = None,
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    counters: Counters = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Say which route, caller, cost and policies a request would meet, and how it would end.

    Exit code 0 if it would be forwarded, 1 if it would be refused.
    """
    if not path.startswith("/") and path != "*":
        raise typer.BadParameter(f"{path!r} is no path; write /v1/runs, its host as -H 'Host: ...'")
    desk = open_desk(config, data_dir=data_dir, counters=counters, ledger=ledger, keys=keys)
    headers: dict[str, list[bytes]] = {}
    for name, value in map(_header, header or ()):
        headers.setdefault(name, []).append(value)
    host = headers.get("host", [b""])[0].decode("latin-1")
    peer = None if address is None else _address(address)
    question = Question(method, path, host, headers, os.fsencode(body), peer)
    caller = _caller(desk, key, workspace)
    found = asyncio.run(_ask(desk, question, caller))
    if as_json:
        output.document(asdict(found))
    else:
        _table(found)
    raise typer.Exit(0 if found.forwards else 1)


def _header(text: str) -> tuple[str, bytes]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"{text!r} is not a header; write 'Name: value'")
    return name.strip().lower(), os.fsencode(value.strip())


def _address(text: str) -> str:
    """Return an address as the gateway reads it of a peer or a field."""
    address = address_in(text)
    if address is None:
        raise typer.BadParameter(f"{text!r} is not an address; write 203.0.113.7")
    return str(address)


def _caller(desk: Desk, key: str | None, workspace: str | None) -> AskedCaller | None:
    if key is not None and workspace is not None:
        raise typer.BadParameter("give --key or --workspace, not both")
    if key is not None:
        return caller_of_key(desk.registry, find_key(desk.registry, key))
    if workspace is not None:
        return AskedCaller(find_workspace(desk.registry, workspace), None)
    return None


async def _ask(desk: Desk, question: Question, caller: AskedCaller | None) -> Explanation:
    from gateway.process import wiring  # noqa: PLC0415 - brings SQLAlchemy
    from gateway.telemetry.metrics import StoreStats  # noqa: PLC0415

    settings = desk.loaded.settings
    runs = counts.billed_runs(desk.ledger)
    if settings.counters == "memory":
        with desk.ledger() as ledger:
            key_id = caller.key.key_id if caller and caller.key else ""
            now_micro = desk.clock.now_micro()
            reader = counts.from_ledger(ledger, desk.snapshot, now_micro, key_id=key_id)
            return await explain(desk.snapshot, desk.clock, question, caller, reader, runs)
    store = wiring.open_store(settings, desk.clock, StoreStats())
    await store.start()
    try:
        reader = counts.from_store(store)
        return await explain(desk.snapshot, desk.clock, question, caller, reader, runs)
    finally:
        await store.close()


def _table(found: Explanation) -> None:
    for step in found.steps:
        output.line(f"{'pass' if step.passed else 'STOP'}  {step.name}: {step.told}")
    if found.policies:
        output.line()
        policies = [asdict(policy) for policy in found.policies]
        output.rows(policies, POLICY_COLUMNS, as_json=False, empty="")
    output.line()
    output.line(found.summary)
    if found.retry_after_seconds is not None:
        output.line(f"The same request could pass in {found.retry_after_seconds} seconds.")
