"""``gateway check``: are route file, pricing file and keys file right? Starts nothing."""

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config, Keys, exclusive
from gateway.cli.context import load_to_serve
from gateway.config.loaded import KEYS_IN_FILE, KEYS_IN_VARIABLE, Loaded
from gateway.control.plain_passwords import lines_with_passwords
from gateway.control.written_keys import foreign_warnings, read_variable, read_written
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.process.clock import SystemClock


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
        warnings = [*loaded.warnings, *_compared(loaded)]
        key_count = _count_keys(loaded, warnings)
    except GatewayError as error:
        if wants_json:
            output.document({"valid": False, "faults": _faults(error, config)})
        output.failure(error)
        raise typer.Exit(1) from None
    for line in lines_with_passwords(config.read_text(encoding="utf-8")):
        message = "a password is written out in this file"
        warnings.append(
            Fault(str(config), line, 1, "(file)", message, "write ${NAME} and set the variable")
        )
    for warning in warnings:
        output.note(f"warning: {warning}")
    snapshot = loaded.snapshot
    if wants_json:
        output.document(
            {
                "valid": True,
                "faults": [],
                "warnings": [asdict(warning) for warning in warnings],
                "routes": [route.name for route in snapshot.routes],
                "pricing_versions": [pricing.version for pricing in snapshot.pricings],
                "keys": key_count,
                "files": [str(file) for file in loaded.files],
            }
        )
        return
    plans = len({plan for pricing in snapshot.pricings for plan in pricing.tiers})
    counts = {"route": len(snapshot.routes), "plan": plans, "key": key_count}
    told = ", ".join(_counted(count, noun) for noun, count in counts.items() if count is not None)
    output.line(f"{config}: {told}: no faults")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _compared(loaded: Loaded) -> list[Fault]:
    """Compare with the plans that a database's workspaces have; return that it can't be asked.

    Raises:
        ConfigError: a plan in use is in no price list.
    """
    from gateway.process import plans  # noqa: PLC0415 - brings SQLAlchemy

    try:
        plans.compare(loaded, plans.ask(loaded.settings), SystemClock().now_micro())
    except ConfigError:
        raise
    except GatewayError as error:
        message = f"the plans in use are not compared: {error.message}"
        return [Fault(str(loaded.files[0]), 1, 1, "keys", message, error.hint)]
    return []


def _count_keys(loaded: Loaded, warnings: list[Fault]) -> int | None:
    """Return how many keys are written by hand; None where a database has them."""
    place = loaded.settings.keys
    if place.startswith(KEYS_IN_FILE):
        name = place.removeprefix(KEYS_IN_FILE)
        keys, _ = read_written(Path(name))
    elif place.startswith(KEYS_IN_VARIABLE):
        name = f"${place.removeprefix(KEYS_IN_VARIABLE)}"
        keys, _ = read_variable(place.removeprefix(KEYS_IN_VARIABLE))
    else:
        return None
    found = foreign_warnings(keys, accepts_foreign=loaded.settings.accepts_foreign_keys)
    warnings += [Fault(name, 1, 1, "(file)", warning) for warning in found]
    return len(keys)


def _faults(error: GatewayError, config: Path) -> list[dict[str, object]]:
    """Return the mistakes as facts; what stops the reading itself is told as one of them."""
    if isinstance(error, ConfigError):
        return [asdict(fault) for fault in error.faults]
    return [asdict(Fault(str(config), 1, 1, "(file)", error.message, error.hint))]
