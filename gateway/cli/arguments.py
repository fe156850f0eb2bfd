"""Options that several commands share, and how durations and instants are written."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.rules.units import MICRO
from gateway.rules.windows import NEVER_MICRO

DEFAULT_CONFIG: Final = Path("policies/gateway.yaml")

Config = Annotated[
    Path,
    # That it can be read is said by whoever reads it, like all trouble with files.
    typer.Option("--config", "-c", envvar="GATEWAY_CONFIG", help="The route file.", readable=False),
]
DataDir = Annotated[
    str | None,
    typer.Option(help="Where journal and embedded databases live [env: GATEWAY_DATA_DIR]."),
]
Counters = Annotated[
    str | None, typer.Option(help="memory or redis://... [env: GATEWAY_COUNTERS].")
]
LedgerUrl = Annotated[
    str | None,
    typer.Option(help="The ledger: sqlite:///... or postgresql://... [env: GATEWAY_LEDGER]."),
]
Keys = Annotated[
    str | None,
    typer.Option(help="Where keys are kept: file:..., or a database URL [env: GATEWAY_KEYS]."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Month = Annotated[
    str | None, typer.Option("--period", help="A billing period such as 2026-11 [now].")
]

_DURATION: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON: known before it is understood, or can't be."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    has_format = ("--format", "json") in pairwise(words)
    return has_format or "--json" in words or "--format=json" in words


def exclusive(as_json: bool, option: str, value: object) -> None:  # noqa: FBT001 - one rule for all
    """Refuse ``--json`` beside an option that asks for another form.

    Raises:
        typer.BadParameter: both were given.
    """
    if as_json and value is not None:
        raise typer.BadParameter(f"give --json or {option}, not both")


def duration_seconds(text: str) -> int:
    """Return the seconds of a duration such as ``90s``, ``30m``, ``24h`` or ``7d``.

    Raises:
        typer.BadParameter: not a duration.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; write 90s, 30m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def instant_micro(text: str, now_micro: int) -> int:
    """Return the instant that a duration from now, a date or an RFC 3339 time names.

    Raises:
        typer.BadParameter: none of these, or not before 2100.
    """
    if _DURATION.fullmatch(text):
        at_micro = now_micro + duration_seconds(text) * MICRO
    else:
        at_micro = _named_instant_micro(text)
    if at_micro >= NEVER_MICRO:
        raise typer.BadParameter(f"{text!r} is not before 2100")
    return at_micro


def _named_instant_micro(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is neither a duration (30d) nor a date (2027-01-31)"
        raise typer.BadParameter(message) from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int(found.timestamp()) * MICRO
