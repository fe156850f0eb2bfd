"""``gateway usage``: what workspaces used, as rollups or event by event."""

from collections.abc import Iterator
from enum import Enum
from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    DataDir,
    Keys,
    LedgerUrl,
    Month,
    exclusive,
)
from gateway.cli.context import Desk, open_desk
from gateway.control.statements import month_of, usage_of
from gateway.ledger.port import Ledger, UsageRow
from gateway.rules.plan import Meter
from gateway.rules.record import Record
from gateway.rules.units import text_from_micro

PAGE = 1_000
COLUMNS = {
    "workspace_id": "WORKSPACE",
    "meter": "METER",
    "bucket": "PERIOD",
    "requests": "REQUESTS",
    "billable_events": "BILLABLE",
    "refused": "REFUSED",
    "repeats": "REPEATS",
    "charged": "CHARGED",
}


class Export(Enum):
    """How events are written."""

    CSV = "csv"


def show(
    *,
    workspace: Annotated[
        str | None, typer.Option("--workspace", "-w", help="Only this workspace [all].")
    ] = None,
    period: Month = None,
    hourly: Annotated[
        bool, typer.Option("--hourly", help="A row per hour instead of per month.")
    ] = False,
    export: Annotated[
        Export | None, typer.Option(help="Write every event instead of sums.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Show usage per workspace, meter and period; --export csv writes the events themselves."""
    exclusive(as_json, "--export csv", export)
    if export is not None and hourly:
        raise typer.BadParameter("give --hourly or --export csv, not both")
    if workspace == "":  # of a variable that is not set: all workspaces are not meant
        raise typer.BadParameter("--workspace is given, but empty")
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    # A month has the same name in every time zone.
    chosen = desk.period if period is None else month_of(period, "UTC").id
    with desk.ledger() as books:
        if export is not None:
            _export(books, desk.pricing.meter, workspace, chosen)
            return
        rows = usage_of(books, workspace_id=workspace, period=chosen, hourly=hourly)
    found = [_described(row) for row in rows]
    output.rows(found, COLUMNS, as_json=as_json, empty=f"Nothing was used in {chosen}.")


def used(desk: Desk, period: str) -> list[dict[str, object]]:
    """Return what all workspaces used in a month, as ``--json`` shows it."""
    with desk.ledger() as books:
        rows = usage_of(books, workspace_id=None, period=period, hourly=False)
    return [_described(row) for row in rows]


def _described(row: UsageRow) -> dict[str, object]:
    return {
        "workspace_id": row.workspace_id,
        "meter": row.meter,
        "bucket": row.bucket,
        "requests": row.requests,
        "billable_events": row.billable_events,
        "refused": row.refused,
        "repeats": row.repeats,
        "charged": text_from_micro(row.charged_micro),
        "largest": text_from_micro(row.charged_max_micro),
    }


def header_of(meter: Meter) -> list[str]:
    """Return the export's columns, named as the pricing file's meter says (A22)."""
    return [
        "event_id", "event_name", "workspace_id", meter.idempotency_key_field,
        meter.quantity_field, "occurred_at", "period", "route", "status", "billable", "reason",
        "deduplication_status", "pricing_version", "count",
    ]  # fmt: skip


def row_of(record: Record, meter: Meter) -> list[object]:
    """Return one event's values in the order of ``header_of``; the quantity is what is charged."""
    return [
        record.event_id,
        meter.event_name,
        record.workspace_id,
        output.callers_text(record.run_id or record.event_id),
        text_from_micro(record.charged_micro.get(meter.name, 0)),
        output.instant(record.occurred_at_micro),
        record.period,
        record.route,
        record.status,
        str(record.billable).lower(),
        record.reason,
        "duplicate" if record.repeat else "new",
        record.pricing_version,
        record.count,
    ]


def _export(ledger: Ledger, meter: Meter, workspace: str | None, period: str) -> None:
    with output.progress("events") as advance:

        def rows() -> Iterator[list[object]]:
            after = ""
            while page := ledger.events(
                workspace_id=workspace, period=period, after_event_id=after, limit=PAGE
            ):
                yield from (row_of(record, meter) for record in page)
                advance(len(page))
                after = page[-1].event_id

        output.csv_rows(header_of(meter), rows())
