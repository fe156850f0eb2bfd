"""Keys in an environment variable: what its value means (B3).

Either ``workspace:PLAN:sha256,workspace:PLAN:sha256`` or the YAML of ``gateway.keys.document``.
"""

import os
import re
from collections.abc import Collection
from typing import Final

from gateway.errors import ConfigError, Fault, GatewayError
from gateway.keys.document import Keys, parse_workspaces, unknown_plan
from gateway.keys.port import KeyEntry, Workspace
from gateway.rules.identifiers import ID_WORDS, NAME_WORDS, is_id, is_name

_HASH_DIGITS: Final = 64
_ID_DIGITS: Final = 12
"""Of the hash, in a key's id; they tell nothing of the key."""
_IS_DOCUMENT: Final = re.compile(r"\s*(?:[{#]|---|(?:version|workspaces)\s*:(?:\s|$))").match
"""YAML has a blank after the colon of a member; a list may begin with a workspace of that name."""
_EXPECTED: Final = "workspace:PLAN:sha256, the last one 64 hexadecimal digits"


def value_of(variable: str) -> str:
    """Return a variable's value.

    Raises:
        GatewayError: it is not set.
    """
    if variable not in os.environ:
        raise GatewayError(
            "keys.variable_missing",
            f"the environment variable {variable} is not set",
            "set it to keys as docs/operations.md, Keys without a database, describes them",
        )
    return os.environ[variable]


def parse_variable(
    text: str,
    variable: str,
    plans: Collection[str] | None = None,
    warnings: list[Fault] | None = None,
) -> tuple[Keys, list[Workspace]]:
    """Return the keys and workspaces that a variable's value describes.

    Args:
        text: The value.
        variable: Its name, for faults.
        plans: Which there are; None takes any.
        warnings: What is allowed, but not for long, is added to them.

    Raises:
        ConfigError: with every fault.
    """
    file = f"${variable}"
    if _IS_DOCUMENT(text):
        return parse_workspaces(text, file, plans, warnings)
    keys = _parse_list(text, file, plans)
    found = {
        entry.workspace_id: Workspace(entry.workspace_id, entry.plan, entry.workspace_status, 0)
        for entry in keys.values()
    }
    return keys, list(found.values())


def _parse_list(text: str, file: str, plans: Collection[str] | None) -> Keys:
    keys: Keys = {}
    known: dict[str, str] = {}
    faults: list[Fault] = []
    column = 1
    for index, item in enumerate(text.split(",")):
        entry = _parse_item(item.strip())
        place = (file, 1, column, f"[{index}]")
        if isinstance(entry, str):
            # What was found is not repeated: it may be a key, put here instead of its hash.
            faults.append(Fault(*place, entry, _EXPECTED))
        elif entry.key_hash in keys:
            faults.append(Fault(*place, "this key is given twice", "each key once"))
        elif known.setdefault(entry.workspace_id, entry.plan) != entry.plan:
            faults.append(Fault(*place, "this workspace has another plan before", "one plan each"))
        elif plans is not None and entry.plan not in plans:
            faults.append(Fault(*place, *unknown_plan(entry.plan, plans)))
        else:
            keys[entry.key_hash] = entry
        column += len(item) + 1
    if faults:
        raise ConfigError(faults)
    return keys


def _parse_item(item: str) -> KeyEntry | str:
    """Return the entry, or what is wrong."""
    parts = item.split(":")
    if len(parts) != 3:
        return "not three parts between colons (an id with ':' can't stand here: write YAML)"
    workspace_id, plan, digits = parts
    if not is_id(workspace_id):
        return f"the workspace's id is not {ID_WORDS}"
    if not is_name(plan):
        return f"the plan's name is not {NAME_WORDS}"
    try:
        key_hash = bytes.fromhex(digits)
    except ValueError:
        return "not a SHA-256"
    if len(digits) != _HASH_DIGITS:
        return "not a SHA-256"
    return KeyEntry(
        key_id=f"key_{digits[:_ID_DIGITS].lower()}",
        key_hash=key_hash,
        prefix="",
        workspace_id=workspace_id,
        plan=plan,
    )
