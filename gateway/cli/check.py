"""``gateway check``: are route file, pricing file and keys file right? Starts nothing."""

from dataclasses import asdict
from enum import Enum
from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config
from gateway.cli.context import load
from gateway.errors import ConfigError, GatewayError


class Form(Enum):
    """How faults are written."""

    TEXT = "text"
    JSON = "json"


def run(
    *,
    form: Annotated[Form, typer.Option("--format", help="How to write what is found.")] = Form.TEXT,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Validate the route file with all files that it names; exit code 1 on faults.

    Every fault is told at once, with file, line, column and what would be right.
    """
    wants_json = as_json or form is Form.JSON
    try:
        loaded = load(config)
    except ConfigError as error:
        if not wants_json:
            raise typer.Exit(_told(error)) from None
        faults = [asdict(fault) for fault in error.faults]
        output.document({"valid": False, "faults": faults})
        raise typer.Exit(1) from None
    snapshot = loaded.snapshot
    if wants_json:
        output.document(
            {
                "valid": True,
                "faults": [],
                "routes": [route.name for route in snapshot.routes],
                "pricing_versions": [pricing.version for pricing in snapshot.pricings],
                "files": [str(file) for file in loaded.files],
            }
        )
        return
    plans = len({plan for pricing in snapshot.pricings for plan in pricing.tiers})
    output.line(f"{config}: {len(snapshot.routes)} routes, {plans} plans: no faults")


def _told(error: GatewayError) -> int:
    output.failure(error)
    return 1
