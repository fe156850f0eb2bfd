"""``gateway check``: are route file, pricing file and keys file right? Starts nothing."""

import os
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config, Keys
from gateway.cli.context import ENVIRONMENT, FILE, load
from gateway.control.written_keys import plan_faults, read_entries
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.keys.environment import EnvKeyDirectory
from gateway.telemetry.metrics import DirectoryStats

if TYPE_CHECKING:
    from gateway.config.loaded import Loaded


class Form(Enum):
    """How faults are written."""

    TEXT = "text"
    JSON = "json"


def run(
    *,
    form: Annotated[Form, typer.Option("--format", help="How to write what is found.")] = Form.TEXT,
    config: Config = DEFAULT_CONFIG,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Validate the route file with all files that it names; exit code 1 on faults.

    Every fault is told at once, with file, line, column and what would be right.
    """
    wants_json = as_json or form is Form.JSON
    try:
        loaded = load(config, keys=keys)
        key_count = _check_keys(loaded)
    except GatewayError as error:
        if wants_json:
            output.document({"valid": False, "faults": _faults(error, config)})
        else:
            output.failure(error)
        raise typer.Exit(1) from None
    snapshot = loaded.snapshot
    if wants_json:
        output.document(
            {
                "valid": True,
                "faults": [],
                "routes": [route.name for route in snapshot.routes],
                "pricing_versions": [pricing.version for pricing in snapshot.pricings],
                "keys": key_count,
                "files": [str(file) for file in loaded.files],
            }
        )
        return
    plans = len({plan for pricing in snapshot.pricings for plan in pricing.tiers})
    written = "" if key_count is None else f", {key_count} keys"
    output.line(f"{config}: {len(snapshot.routes)} routes, {plans} plans{written}: no faults")


def _check_keys(loaded: "Loaded") -> int | None:
    """Return how many keys are written by hand; None where a database has them."""
    place = loaded.settings.keys
    pricing = loaded.snapshot.pricings[-1]
    if place.startswith(FILE):
        path = Path(place.removeprefix(FILE))
        entries = read_entries(path)
        if faults := plan_faults(entries, pricing, str(path)):
            raise ConfigError(faults)
        return len(entries)
    if place.startswith(ENVIRONMENT):
        name = place.removeprefix(ENVIRONMENT)
        stats = DirectoryStats()
        EnvKeyDirectory.parse(os.environ.get(name, ""), variable=name, stats=stats)
        return stats.cached
    return None


def _faults(error: GatewayError, config: Path) -> list[dict[str, object]]:
    """Return the mistakes as facts; what stops the reading itself is told as one of them."""
    if isinstance(error, ConfigError):
        return [asdict(fault) for fault in error.faults]
    return [asdict(Fault(str(config), 1, 1, "(file)", error.message, error.hint))]
