"""What a configuration that is to serve must have beyond its own files being right.

Prices that are in force, and a plan for each workspace that is written by hand. Workspaces in a
database are asked for by the process, with the same rules (``plans_in_use``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.loaded import KEYS_IN_FILE, KEYS_IN_VARIABLE
from gateway.config.plans_in_use import (
    Placed,
    gap_warnings,
    in_force_faults,
    missing_plans,
    uses_of,
)
from gateway.config.pricing import PriceLists
from gateway.config.sources import read_bounded
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.keys.document import KEYS_BYTES_MAX, read_workspaces
from gateway.keys.port import Workspace
from gateway.keys.variable import parse_variable


@dataclass(slots=True)
class Findings:
    """What is wrong, and what is probably not meant."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


def check_to_serve(
    lists: PriceLists, keys: str, environ: Mapping[str, str], now_micro: int | None
) -> Findings:
    """Return what would turn the API off, or lock out workspaces that are written by hand.

    Args:
        lists: The price lists.
        keys: The setting; what names no file and no variable is not looked at.
        environ: Holds the variable.
        now_micro: The instant; None does not ask which prices are in force.
    """
    found = Findings()
    placed: tuple[Placed, ...] = ()
    if not lists.faults:  # a list that can't be read may be the one that is missing
        placed = tuple(zip(lists.pricings, lists.places, strict=True))
    plans: Collection[str] | None = None
    if now_micro is not None:
        found.faults += in_force_faults(placed, now_micro)
        found.warnings += gap_warnings(placed, now_micro)
        plans = lists.tier_names if lists.faults else _plans_at(placed, now_micro)
    tiers = [tier for pricing, _ in placed for tier in pricing.tiers.values()]
    features = frozenset().union(*(tier.features for tier in tiers)) if tiers else None
    try:
        workspaces = _written(keys, environ, plans, found.warnings, features)
    except ConfigError as error:
        found.faults += error.faults
        return found
    if now_micro is not None:
        found.faults += missing_plans(
            [each for each in placed if each[0].effective_from_micro > now_micro],
            uses_of(workspaces),
            now_micro,
        )
    return found


def _plans_at(lists: tuple[Placed, ...], now_micro: int) -> Collection[str] | None:
    for pricing, _ in reversed(lists):
        if pricing.effective_from_micro <= now_micro:
            return pricing.tiers
    return None


def _written(
    keys: str,
    environ: Mapping[str, str],
    plans: Collection[str] | None,
    warnings: list[Fault],
    features: Collection[str] | None,
) -> list[Workspace]:
    """Return the workspaces of a keys file or variable. Raises ``ConfigError``."""
    if keys.startswith(KEYS_IN_VARIABLE):
        name = keys.removeprefix(KEYS_IN_VARIABLE)
        if not name:
            return []
        if name not in environ:
            fault = Fault(f"${name}", 1, 1, "(file)", "this environment variable is not set")
            raise ConfigError([fault])
        return parse_variable(environ[name], name, plans, warnings)[1]
    if not keys.startswith(KEYS_IN_FILE) or keys == KEYS_IN_FILE:
        return []
    path = Path(keys.removeprefix(KEYS_IN_FILE))
    try:
        content = read_bounded(path, KEYS_BYTES_MAX)
    except GatewayError as error:
        message = error.message.removeprefix(f"{path} ")
        raise ConfigError([Fault(str(path), 1, 1, "(file)", message)]) from error
    return read_workspaces(content, str(path), plans, warnings, features)[1]
