"""``gateway check``: are route file, pricing file and keys file right? Starts nothing."""

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config, Keys, exclusive
from gateway.cli.context import ENVIRONMENT, FILE, load_to_serve
from gateway.control.plain_passwords import lines_with_passwords
from gateway.control.written_keys import foreign_warnings, plan_faults, read_variable, read_written
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.process.clock import SystemClock

if TYPE_CHECKING:
    from gateway.config.loaded import Loaded


class Form(Enum):
    """How faults are written."""

    TEXT = "text"
    JSON = "json"


def run(
    *,
    form: Annotated[
        Form | None, typer.Option("--format", help="How to write what is found [text].")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Validate the route file with all files that it names; exit code 1 on faults.

    Of keys written by hand only hashes are known: that one made elsewhere has the 16 bytes that
    foreign_keys asks for can't be seen here, and its caller gets a 401.

    Every fault is told at once, with file, line, column and what would be right.
    """
    if form is Form.TEXT:
        exclusive(as_json, "--format text", form)
    wants_json = as_json or form is Form.JSON
    try:
        loaded = load_to_serve(config, keys=keys)
        key_count = _check_keys(loaded)
    except GatewayError as error:
        if wants_json:
            output.document({"valid": False, "faults": _faults(error, config)})
        output.failure(error)
        raise typer.Exit(1) from None
    for line in lines_with_passwords(config.read_text(encoding="utf-8")):
        output.note(
            f"warning: {config}:{line}: a password is written out in this file: "
            "write ${NAME} and set the variable"
        )
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
    place, snapshot, now_micro = loaded.settings.keys, loaded.snapshot, SystemClock().now_micro()
    present = snapshot.pricing_at(now_micro)
    plans = None if present is None else present.tiers.keys()
    if place.startswith(FILE):
        name = place.removeprefix(FILE)
        keys, workspaces = read_written(Path(name), plans)
    elif place.startswith(ENVIRONMENT):
        name = f"${place.removeprefix(ENVIRONMENT)}"
        keys, workspaces = read_variable(place.removeprefix(ENVIRONMENT), plans)
    else:
        return None
    for pricing in snapshot.pricings:
        if pricing.effective_from_micro > now_micro:
            for fault in plan_faults(workspaces, pricing, name):
                output.note(
                    f"warning: {fault.file}: {fault.path}: {fault.message} in {pricing.version}, "
                    f"from {output.instant(pricing.effective_from_micro)} on"
                )
    for warning in foreign_warnings(keys, accepts_foreign=loaded.settings.accepts_foreign_keys):
        output.note(f"warning: {name}: {warning}")
    return len(keys)


def _faults(error: GatewayError, config: Path) -> list[dict[str, object]]:
    """Return the mistakes as facts; what stops the reading itself is told as one of them."""
    if isinstance(error, ConfigError):
        return [asdict(fault) for fault in error.faults]
    return [asdict(Fault(str(config), 1, 1, "(file)", error.message, error.hint))]
