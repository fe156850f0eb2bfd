"""Keys that are written down in a YAML file: read like a registry, changed by hand (B3)."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, NoReturn

import yaml

from gateway.errors import ConfigError, Fault, GatewayError
from gateway.keys.document import Keys, parse_workspaces, unknown_plan
from gateway.keys.environment import parse_variable, value_of
from gateway.keys.format import FOREIGN_BYTES_MAX, FOREIGN_BYTES_MIN, PREFIX
from gateway.keys.port import (
    KeyDescription,
    KeyEntry,
    NewKey,
    Workspace,
    WorkspaceStatus,
)
from gateway.rules.plan import Pricing

Written = tuple[Keys, list[Workspace]]
"""What is written: keys, and workspaces with and without keys."""


OWN_START: Final = f"{PREFIX}_"
"""With this begin the keys that a gateway makes."""


class WrittenRegistry:
    """A read-only ``KeyRegistry`` over what is written by hand; what would change it says how to.

    Args:
        written: See there.
        place: Where it is written, for people.
        is_watched: Whether running gateways see a change.
    """

    def __init__(self, written: Written, place: str, *, is_watched: bool) -> None:
        keys, workspaces = written
        self._entries = list(keys.values())
        self._workspaces = {workspace.workspace_id: workspace for workspace in workspaces}
        self._place = place
        self._is_watched = is_watched

    def workspace(self, workspace_id: str) -> Workspace | None:
        """Return a workspace, or None."""
        return self._workspaces.get(workspace_id)

    def plan_at(self, workspace_id: str, at_micro: int) -> str | None:
        """Return the plan that stands in the file now: it tells nothing of former ones."""
        del at_micro
        workspace = self.workspace(workspace_id)
        return None if workspace is None else workspace.plan

    def workspaces(self, *, limit: int, after: str = "") -> Sequence[Workspace]:
        """Return the workspaces by id."""
        found = self._workspaces
        return [found[name] for name in sorted(found) if name > after][:limit]

    def keys(self, workspace_id: str | None, *, limit: int) -> Sequence[KeyDescription]:
        """Return the file's keys in its order."""
        return [
            _description(entry)
            for entry in self._entries
            if workspace_id in (None, entry.workspace_id)
        ][:limit]

    def create_workspace(self, workspace: Workspace) -> NoReturn:
        """Refuse: the file is written by hand."""
        self._refuse(f"add the workspace {workspace.workspace_id} to it")

    def update_workspace(
        self, workspace_id: str, *, plan: str | None, status: WorkspaceStatus | None
    ) -> NoReturn:
        """Refuse: the file is written by hand."""
        change = f"plan: {plan}" if plan else f"status: {status.value if status else 'active'}"
        self._refuse(f"write '{change}' at the workspace {workspace_id}")

    def create_key(self, key: NewKey) -> NoReturn:
        """Refuse: the file is written by hand."""
        self._refuse(f"add the key {key.key_id} to the workspace {key.workspace_id}")

    def key(self, key_id: str) -> KeyDescription | None:
        """Return a key of the file."""
        for entry in self._entries:
            if entry.key_id == key_id:
                return _description(entry)
        return None

    def replace_key(self, key_id: str, new: NewKey, *, ends_at_micro: int | None) -> NoReturn:
        """Refuse: the file is written by hand."""
        del ends_at_micro
        self._refuse(f"add the key {new.key_id}, and write revoked_at at the key {key_id}")

    def revoke_key(self, key_id: str, *, at_micro: int | None) -> NoReturn:
        """Refuse: the file is written by hand."""
        del at_micro
        self._refuse(f"write revoked_at at the key {key_id}, or remove it")

    def touch_keys(self, used_at_micro: dict[str, int]) -> None:
        """Do nothing: a file written by hand notes no uses."""

    def _refuse(self, how: str) -> NoReturn:
        raise GatewayError(
            "keys.read_only",
            f"the keys are kept in {self._place}, which is changed by hand",
            f"{how}; running gateways "
            f"{'see it within a second' if self._is_watched else 'must be started again'}",
        )


def read_written(path: Path, plans: Collection[str] | None = None) -> Written:
    """Return what a key file holds.

    Args:
        path: The file.
        plans: Which there are; None takes any.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError([Fault(str(path), 1, 1, "$", f"can't be read: {reason}")]) from error
    return parse_workspaces(text, str(path), plans)


def read_variable(name: str, plans: Collection[str] | None = None) -> Written:
    """Return what an environment variable holds.

    Args:
        name: The variable's.
        plans: Which there are; None takes any.

    Raises:
        ConfigError: it is wrong.
        GatewayError: it is not set.
    """
    return parse_variable(value_of(name), name, plans)


def plan_faults(workspaces: Sequence[Workspace], pricing: Pricing, file: str) -> list[Fault]:
    """Return a fault for each workspace whose plan the pricing file lacks."""
    return [
        Fault(file, 1, 1, _at(known), *unknown_plan(known.plan, pricing.tiers))
        for known in workspaces
        if known.plan not in pricing.tiers
    ]


def foreign_warnings(keys: Keys, *, accepts_foreign: bool) -> list[str]:
    """Return what is to be said of keys that were made elsewhere, going by their prefixes.

    Only the hash of a key is written down, so whether it is long enough can't be seen here.
    """
    foreign = [key for key in keys.values() if key.prefix and not key.prefix.startswith(OWN_START)]
    if accepts_foreign:
        bounds = f"{FOREIGN_BYTES_MIN} to {FOREIGN_BYTES_MAX} bytes of printable ASCII"
        told = f"{len(foreign)} keys were made elsewhere; one is refused unless it has {bounds}"
        return [told] if foreign else []
    return [
        f"key {key.key_id!r} was made elsewhere, as its prefix shows: it is refused unless the "
        "route file says foreign_keys: true"
        for key in foreign
    ]


def entry_text(key: NewKey, expires_at: str | None) -> str:
    """Return the YAML lines of a key, to stand under its workspace's ``keys``."""
    entry: dict[str, object] = {
        "id": key.key_id,
        "sha256": key.key_hash.hex(),
        "prefix": key.prefix,
    }
    if key.name:
        entry["name"] = key.name
    if expires_at is not None:
        entry["expires_at"] = expires_at
    if key.features is not None:
        entry["features"] = list(key.features)
    if key.networks:
        entry["cidrs"] = list(key.networks)
    return yaml.safe_dump([entry], sort_keys=False, allow_unicode=True)


def _at(workspace: Workspace) -> str:
    return f"workspaces[{workspace.workspace_id}].plan"


def _description(entry: KeyEntry) -> KeyDescription:
    return KeyDescription(
        key_id=entry.key_id,
        prefix=entry.prefix,
        workspace_id=entry.workspace_id,
        name="",
        created_at_micro=0,
        expires_at_micro=entry.expires_at_micro,
        revoked_at_micro=entry.revoked_at_micro,
        last_used_at_micro=None,
        features=None if entry.features is None else tuple(sorted(entry.features)),
        networks=tuple(map(str, entry.networks)),
    )
