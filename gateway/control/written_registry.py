"""Keys that are written down by hand, as a registry: to be looked at, changed by hand (B3)."""

from collections.abc import Sequence
from typing import NoReturn

from gateway.control.written_keys import Written
from gateway.errors import GatewayError
from gateway.keys.port import (
    KeyDescription,
    KeyEntry,
    NewKey,
    Workspace,
    WorkspaceStatus,
)


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
