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
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from gateway.errors import ConfigError, Fault
from gateway.http.addresses import network_in
from gateway.keys.port import KeyEntry, Workspace, WorkspaceStatus
from gateway.keys.yaml_events import WHOLE, YamlEvents
from gateway.rules.identifiers import (
    ID_WORDS,
    NAME_WORDS,
    NEW_ID_WORDS,
    is_id,
    is_name,
    is_new_id,
    suggestion,
    wrong_with_id,
    wrong_with_name,
)

HASH_PATTERN: Final = r"^[0-9a-fA-F]{64}$"
_HASH: Final = re.compile(HASH_PATTERN.rstrip("$")).fullmatch
_VERSION: Final = re.compile(r"1(\.0)?").fullmatch
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

TOP: Final = frozenset({"version", "workspaces"})
WORKSPACE: Final = frozenset({"id", "plan", "status", "keys"})
KEY: Final = frozenset(
    {"id", "sha256", "prefix", "name", "expires_at", "revoked_at", "features", "cidrs"}
)
INSTANT_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}"
    r"(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_INSTANT_FORM: Final = re.compile(INSTANT_PATTERN.rstrip("$")).fullmatch
_INSTANT: Final = "an instant with its offset, such as 2027-01-01T00:00:00Z"
_STATUSES: Final = {status.value: status for status in WorkspaceStatus}

KEYS_BYTES_MAX: Final = 256 * 1024 * 1024
"""Two million keys; a wrong path must not fill the memory."""

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
    text: str,
    file: str,
    plans: Collection[str] | None = None,
    warnings: list[Fault] | None = None,
    features: Collection[str] | None = None,
) -> tuple[Keys, list[Workspace]]:
    """Return the keys of a YAML text and its workspaces, those without keys included.

    Args:
        text: See ``parse_document``.
        file: See ``parse_document``.
        plans: See ``parse_document``.
        warnings: What is allowed and probably not meant, or not for long, is added to them.
        features: Which plans have; None takes any.

    Raises:
        ConfigError: see ``parse_document``.
    """
    reader = _DocumentReader(text, file, plans, features)
    reader.events.read(reader.document)
    if warnings is not None:
        warnings += reader.events.warnings
    return reader.keys, reader.workspaces


def read_workspaces(
    content: bytes,
    file: str,
    plans: Collection[str] | None = None,
    warnings: list[Fault] | None = None,
    features: Collection[str] | None = None,
) -> tuple[Keys, list[Workspace]]:
    """Return what a file holds: see ``parse_workspaces``."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Fault(file, line, 1, WHOLE, "not UTF-8 text")]) from error
    return parse_workspaces(text, file, plans, warnings, features)


def unknown_plan(plan: str, plans: Collection[str]) -> tuple[str, str]:
    """Return what is wrong with a plan that there is not, and what would be right."""
    return f"no plan is called {plan}", suggestion(plan, plans)


class _DocumentReader:
    """Reads the document top down; each method reads one node."""

    def __init__(
        self,
        text: str,
        file: str,
        plans: Collection[str] | None,
        features: Collection[str] | None,
    ) -> None:
        self.events = YamlEvents(text, file)
        self._features = features
        self._plans = plans
        self.keys: Keys = {}
        self.workspaces: list[Workspace] = []
        self._workspace_ids: set[str] = set()
        self._key_ids: set[str] = set()

    def document(self, path: str) -> None:
        named = set()
        for name in self.events.members(path, TOP):
            if name == "version":
                version = self.events.text("version", "1")
                if version is not None and not _VERSION(version):
                    self.events.fault("version", "unknown version", "1")
            else:
                for item in self.events.items("workspaces"):
                    self._workspace(item)
            named.add(name)
        if "version" not in named:
            self.events.fault(path, "version is missing", "version: 1")

    def _workspace(self, path: str) -> None:
        workspace_id: str | None = None
        plan: str | None = None
        status = WorkspaceStatus.ACTIVE
        found: list[KeyEntry] = []
        named = set()
        for name in self.events.members(path, WORKSPACE):
            where = f"{path}.{name}"
            named.add(name)
            match name:
                case "id":
                    workspace_id = self._id(where, self._workspace_ids)
                    if workspace_id is not None and not is_new_id(workspace_id):
                        message = f"the id {wrong_with_id(workspace_id)}; new ones can't hold it"
                        self.events.warn(where, message, NEW_ID_WORDS)
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
            self._missing(path, {"id", "plan"} - named)
            return
        plan = sys.intern(plan)
        self.workspaces.append(Workspace(workspace_id, plan, status, created_at_micro=0))
        for entry in found:
            entry.workspace_id, entry.plan, entry.workspace_status = workspace_id, plan, status

    def _key(self, path: str) -> KeyEntry | None:
        key_id: str | None = None
        key_hash: bytes | None = None
        entry = KeyEntry(key_id="", key_hash=b"", prefix="", workspace_id="", plan="")
        named = set()
        for name in self.events.members(path, KEY):
            where = f"{path}.{name}"
            named.add(name)
            match name:
                case "id":
                    key_id = self._id(where, self._key_ids)
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
            self._missing(path, {"id", "sha256"} - named)
            return None
        entry.key_id, entry.key_hash = key_id, key_hash
        self.keys[key_hash] = entry
        return entry

    def _missing(self, path: str, absent: set[str]) -> None:
        """Report what is not there; what was there but wrong has its fault already."""
        if absent:
            verb = "are" if len(absent) > 1 else "is"
            names = " and ".join(sorted(absent))
            self.events.fault(path, f"{names} {verb} missing in the entry that ends here")

    def _id(self, path: str, taken: set[str]) -> str | None:
        value = self.events.text(path, ID_WORDS)
        if value is None:
            return None
        if not is_id(value):
            self.events.fault(path, f"not an id: it {wrong_with_id(value)}", ID_WORDS)
            return None
        if value in taken:
            self.events.fault(path, f"{value} is given twice", "an id of its own")
        taken.add(value)
        return value

    def _plan(self, path: str) -> str | None:
        plan, plans = self._name(path), self._plans
        if plan is not None and plans is not None and plan not in plans:
            self.events.fault(path, *unknown_plan(plan, plans))
        return plan

    def _name(self, path: str) -> str | None:
        """Return a name of the pricing file."""
        value = self.events.text(path, NAME_WORDS)
        if value is not None and not is_name(value):
            self.events.fault(path, f"not a name: it {wrong_with_name(value)}", NAME_WORDS)
            return None
        return value

    def _feature(self, path: str) -> str | None:
        name, features = self._name(path), self._features
        if name is not None and features is not None and name not in features:
            self.events.warn(path, f"no plan has the feature {name}", suggestion(name, features))
        return name

    def _status(self, path: str) -> WorkspaceStatus:
        expected = f"one of {', '.join(_STATUSES)}"
        value = self.events.text(path, expected)
        if value is not None and value not in _STATUSES:
            self.events.fault(path, "unknown status", suggestion(value, _STATUSES))
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
        if _INSTANT_FORM(value) is None:
            self.events.fault(path, "not an instant", _INSTANT)
            return None
        try:
            instant = datetime.fromisoformat(value.upper())
        except ValueError:
            self.events.fault(path, "names a day or a time that does not exist", _INSTANT)
            return None
        return (instant - _EPOCH) // timedelta(microseconds=1)

    def _texts(self, path: str) -> list[str]:
        read = [self._feature(item) for item in self.events.items(path)]
        return [sys.intern(value) for value in read if value is not None]

    def _networks(self, path: str) -> tuple[IPv4Network | IPv6Network, ...]:
        networks = []
        for item in self.events.items(path):
            value = self.events.text(item, "a CIDR block such as 10.0.0.0/8")
            if value is None:
                continue
            try:
                networks.append(network_in(value))
            except ValueError as error:
                self.events.fault(item, f"not a network: {error}", "such as 10.0.0.0/8")
        return tuple(networks)
