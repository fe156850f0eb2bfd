"""``gateway statement``: the bill of a workspace for a month, with the computation that made it."""

from dataclasses import asdict
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
from gateway.cli.context import open_desk
from gateway.control.statements import PeriodStatement, statement_of


class Form(Enum):
    """How the bill is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def show(
    *,
    workspace: Annotated[str, typer.Argument(help="Whose bill.")],
    period: Month = None,
    form: Annotated[Form | None, typer.Option("--format", help="How to write it [table].")] = None,
    config: Config = DEFAULT_CONFIG,
    data_dir: DataDir = None,
    ledger: LedgerUrl = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Show what a workspace owes for a month: included, overage, waived, amount."""
    if form is not Form.JSON:
        exclusive(as_json, "another --format", form)
    desk = open_desk(config, data_dir=data_dir, ledger=ledger, keys=keys)
    with desk.ledger() as books:
        bill = statement_of(
            desk.registry,
            books,
            desk.snapshot,
            desk.clock,
            workspace_id=workspace,
            period_id=desk.period if period is None else period,
        )
    if as_json or form is Form.JSON:
        output.document(asdict(bill.statement) | {"is_final": bill.is_final})
    elif form is Form.CSV:
        found = asdict(bill.statement) | {"is_final": bill.is_final}
        del found["lines"]
        output.csv_rows(list(found), [list(found.values())])
    else:
        _table(bill)


def _table(bill: PeriodStatement) -> None:
    statement, currency = bill.statement, bill.pricing.currency
    tax = "included" if statement.tax_inclusive else "on top"
    output.facts(
        {
            "workspace": statement.workspace_id,
            "period": statement.period + ("" if bill.is_final else " (still running)"),
            "plan": f"{statement.tier} of {statement.pricing_version}",
            "base_price": output.money(currency, statement.base_price_minor),
            **{f"{line.meter}_overage": line.formula for line in statement.lines},
            "waived_grace": statement.waived_grace_units,
            "waived_by_spending_limit": statement.waived_spending_limit_units,
            "overage": output.money(currency, statement.overage_amount_minor),
            "amount": f"{output.money(currency, statement.amount_minor)} (tax {tax})",
            "digest": statement.digest,
        },
        as_json=False,
    )
