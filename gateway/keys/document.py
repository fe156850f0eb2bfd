"""Workspaces and keys written down in YAML, for gateways without a database (B3).

::

    version: 1
    workspaces:
      - id: acme
        plan: STARTER
        status: active                  # or suspended, payment_required
        keys:
          - id: acme-backend
            sha256: 6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918
            prefix: egw_live_9xAb       # prefix and name are for people
            name: backend
            expires_at: 2027-01-01T00:00:00Z
            revoked_at: null
            features: [replay]          # left out: all of the plan's
            cidrs: [10.0.0.0/8]         # left out: from everywhere

The secrets themselves are never in the file.
"""

import re
import sys
from collections.abc import Collection
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from gateway.keys.port import KeyEntry, Workspace, WorkspaceStatus
from gateway.keys.yaml_events import YamlEvents

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}").fullmatch
"""Ids of workspaces and keys. No braces: a workspace id is the hash tag of its counters' keys."""

NAME_EXPECTED: Final = "1 to 128 letters, digits and . _ : @ / -, beginning with a letter or digit"

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

_TOP: Final = frozenset({"version", "workspaces"})
_WORKSPACE: Final = frozenset({"id", "plan", "status", "keys"})
_KEY: Final = frozenset(
    {"id", "sha256", "prefix", "name", "expires_at", "revoked_at", "features", "cidrs"}
)
_INSTANT: Final = "an instant with its offset, such as 2027-01-01T00:00:00Z, before 2100"
_PLANS_TOLD_MAX: Final = 12
_STATUSES: Final = {status.value: status for status in WorkspaceStatus}

Keys = dict[bytes, KeyEntry]
"""Entries by the SHA-256 of the key."""


def parse_document(text: str, file: str, plans: Collection[str] | None = None) -> Keys:
    """Return the keys of a YAML text.

    Args:
        text: The whole text.
        file: Its name, for faults.
        plans: Which there are; None takes any.

    Raises:
        ConfigError: with file, line and column of every fault.
    """
    return parse_workspaces(text, file, plans)[0]


def parse_workspaces(
    text: str, file: str, plans: Collection[str] | None = None
) -> tuple[Keys, list[Workspace]]:
    """Return the keys of a YAML text and its workspaces, those without keys included.

    Args:
        text: See ``parse_document``.
        file: See ``parse_document``.
        plans: See ``parse_document``.

    Raises:
        ConfigError: see ``parse_document``.
    """
    reader = _DocumentReader(text, file, plans)
    reader.events.read(reader.document)
    return reader.keys, reader.workspaces


def unknown_plan(plan: str, plans: Collection[str]) -> tuple[str, str]:
    """Return what is wrong with a plan that there is not, and what would be right."""
    return f"no plan is called {plan}", f"one of: {', '.join(sorted(plans)[:_PLANS_TOLD_MAX])}"


class _DocumentReader:
    """Reads the document top down; each method reads one node."""

    def __init__(self, text: str, file: str, plans: Collection[str] | None) -> None:
        self.events = YamlEvents(text, file)
        self._plans = plans
        self.keys: Keys = {}
        self.workspaces: list[Workspace] = []
        self._workspace_ids: set[str] = set()
        self._key_ids: set[str] = set()

    def document(self, path: str) -> None:
        version = None
        for name in self.events.members(path, _TOP):
            if name == "version":
                version = self.events.text(f"{path}.version", "1")
                if version != "1":
                    self.events.fault(f"{path}.version", "unknown version", "1")
            else:
                for item in self.events.items("workspaces"):
                    self._workspace(item)
        if version is None:
            self.events.fault(path, "version is missing", "version: 1")

    def _workspace(self, path: str) -> None:
        workspace_id: str | None = None
        plan: str | None = None
        status = WorkspaceStatus.ACTIVE
        found: list[KeyEntry] = []
        for name in self.events.members(path, _WORKSPACE):
            where = f"{path}.{name}"
            match name:
                case "id":
                    workspace_id = self._name(where, self._workspace_ids)
                case "plan":
                    plan = self._plan(where)
                case "status":
                    status = self._status(where)
                case _:
                    found = [
                        entry
                        for item in self.events.items(where)
                        if (entry := self._key(item)) is not None
                    ]
        if workspace_id is None or plan is None:
            self._missing(path, id=workspace_id, plan=plan)
            return
        plan = sys.intern(plan)
        self.workspaces.append(Workspace(workspace_id, plan, status, created_at_micro=0))
        for entry in found:
            entry.workspace_id, entry.plan, entry.workspace_status = workspace_id, plan, status

    def _key(self, path: str) -> KeyEntry | None:
        key_id: str | None = None
        key_hash: bytes | None = None
        entry = KeyEntry(key_id="", key_hash=b"", prefix="", workspace_id="", plan="")
        for name in self.events.members(path, _KEY):
            where = f"{path}.{name}"
            match name:
                case "id":
                    key_id = self._name(where, self._key_ids)
                case "sha256":
                    key_hash = self._hash(where)
                case "prefix":
                    entry.prefix = self.events.optional_text(where, "text") or ""
                case "name":
                    self.events.optional_text(where, "text")
                case "expires_at":
                    entry.expires_at_micro = self._instant(where)
                case "revoked_at":
                    entry.revoked_at_micro = self._instant(where)
                case "features":
                    entry.features = frozenset(self._texts(where))
                case _:
                    entry.networks = self._networks(where)
        if key_id is None or key_hash is None:
            self._missing(path, id=key_id, sha256=key_hash)
            return None
        entry.key_id, entry.key_hash = key_id, key_hash
        self.keys[key_hash] = entry
        return entry

    def _missing(self, path: str, **required: object) -> None:
        """Report what is not there; what was there but wrong has its fault already."""
        absent = sorted(name for name, value in required.items() if value is None)
        self.events.fault(
            path, f"{' and '.join(absent)} missing or wrong in the entry that ends here"
        )

    def _name(self, path: str, taken: set[str] | None) -> str | None:
        value = self.events.text(path, NAME_EXPECTED)
        if value is None:
            return None
        if NAME(value) is None:
            self.events.fault(path, "not a name", NAME_EXPECTED)
            return None
        if taken is not None:
            if value in taken:
                self.events.fault(path, f"{value} is given twice", "an id of its own")
            taken.add(value)
        return value

    def _plan(self, path: str) -> str | None:
        plan, plans = self._name(path, None), self._plans
        if plan is not None and plans is not None and plan not in plans:
            self.events.fault(path, *unknown_plan(plan, plans))
        return plan

    def _status(self, path: str) -> WorkspaceStatus:
        expected = f"one of {', '.join(_STATUSES)}"
        value = self.events.text(path, expected)
        if value is not None and value not in _STATUSES:
            self.events.fault(path, "unknown status", expected)
        return _STATUSES.get(value or "", WorkspaceStatus.ACTIVE)

    def _hash(self, path: str) -> bytes | None:
        expected = "the key's SHA-256 as 64 hexadecimal digits"
        value = self.events.text(path, expected)
        if value is None:
            return None
        if _HASH(value) is None:
            # What was found is not repeated: it may be the key itself, written here by mistake.
            self.events.fault(path, "not a SHA-256", expected)
            return None
        key_hash = bytes.fromhex(value)
        if key_hash in self.keys:
            self.events.fault(path, "this key is given twice", "each key once")
        return key_hash

    def _instant(self, path: str) -> int | None:
        value = self.events.optional_text(path, _INSTANT)
        if value is None:
            return None
        try:
            instant = datetime.fromisoformat(value)
            return (instant - _EPOCH) // timedelta(microseconds=1)
        except (ValueError, TypeError):  # TypeError: it has no offset
            self.events.fault(path, "not an instant", _INSTANT)
            return None

    def _texts(self, path: str) -> list[str]:
        read = [self.events.text(item, "a name") for item in self.events.items(path)]
        return [sys.intern(value) for value in read if value is not None]

    def _networks(self, path: str) -> tuple[IPv4Network | IPv6Network, ...]:
        networks = []
        for item in self.events.items(path):
            value = self.events.text(item, "a CIDR block such as 10.0.0.0/8")
            if value is None:
                continue
            try:
                networks.append(ip_network(value))
            except ValueError as error:
                self.events.fault(item, f"not a network: {error}", "such as 10.0.0.0/8")
        return tuple(networks)
