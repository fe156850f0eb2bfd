"""Options that several commands share, and how durations and instants are written."""

import re
from datetime import UTC, datetime
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
