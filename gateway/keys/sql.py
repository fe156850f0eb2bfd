"""Workspaces and keys in the database: what caches read, and what operators change.

Every change of a key, or of a workspace that has keys, is announced in the change feed within the
same transaction. Blocking: to be called in threads.

Source: requirements B2, T16.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import IntegrityError

from gateway.clock import Clock
from gateway.database.engine import reading, writing
from gateway.database.one_server import server_of
from gateway.errors import DirectoryUnavailable, GatewayError
from gateway.http.addresses import network_in
from gateway.keys import queries
from gateway.keys.format import is_same_hash
from gateway.keys.port import (
    Change,
    FeedEnd,
    KeyDescription,
    KeyEntry,
    NewKey,
    PlanUse,
    Workspace,
    WorkspaceStatus,
)
from gateway.rules.identifiers import ID_WORDS, is_id

_log = structlog.get_logger("keys")
_CODE: Final = "directory.unavailable"

SqlRow = Row[Any]  # SQLAlchemy types rows by the statement's text, which mypy can't follow


class SqlKeyStore:
    """Implements ``KeySource`` and ``KeyRegistry``. Each method raises ``DirectoryUnavailable``.

    Args:
        engine: A migrated database.
        clock: Its wall time dates the announcements and says whether a revocation has passed.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def load(self, key_hash: bytes) -> KeyEntry | None:
        """Return the entry of a key, or None."""
        with self._reading() as connection:
            row = connection.execute(queries.ENTRY, {"wanted_hash": key_hash}).one_or_none()
        if row is None or not is_same_hash(bytes(row.key_hash), key_hash):
            return None
        if not is_id(row.workspace_id):
            # Written past the gateway: as the hash tag of counter keys it would cut them in two.
            _log.error("keys.id_unusable", key_id=row.key_id, expected=ID_WORDS)
            return None
        return KeyEntry(
            key_id=row.key_id,
            key_hash=key_hash,
            prefix=row.prefix,
            workspace_id=row.workspace_id,
            plan=sys.intern(row.plan),  # few plans, many keys in the cache
            workspace_status=WorkspaceStatus(row.status),
            expires_at_micro=row.expires_at_micro,
            revoked_at_micro=row.revoked_at_micro,
            features=None if row.features is None else frozenset(json.loads(row.features)),
            networks=tuple(network_in(network) for network in json.loads(row.networks)),
        )

    def changes_after(self, sequence: int) -> Sequence[Change]:
        """Return the changes after a position, in order, none missed (``queries.FEED_LOCK``)."""
        with self._reading() as connection:
            rows = connection.execute(queries.CHANGES_AFTER, {"position": sequence})
            return [Change(row.sequence, bytes(row.key_hash)) for row in rows]

    def feed_end(self) -> FeedEnd:
        """Return where the change feed ends, and on which server."""
        with self._reading() as connection:
            latest = int(connection.scalar(queries.LATEST_CHANGE) or 0)
            return FeedEnd(latest, server_of(connection))

    def create_workspace(self, workspace: Workspace) -> None:
        """Add a tenant.

        Raises:
            GatewayError: ``workspace.exists``.
        """
        row = {
            "workspace_id": workspace.workspace_id,
            "plan": workspace.plan,
            "status": workspace.status.value,
            "created_at_micro": workspace.created_at_micro,
        }
        with self._writing() as connection:
            try:
                connection.execute(queries.CREATE_WORKSPACE, row)
            except IntegrityError as error:
                raise GatewayError(
                    "workspace.exists",
                    f"there is a workspace {workspace.workspace_id!r} already",
                    "choose another id, or update that workspace",
                ) from error
            self._note_plan(
                connection, workspace.workspace_id, workspace.plan, workspace.created_at_micro
            )

    def update_workspace(
        self, workspace_id: str, *, plan: str | None, status: WorkspaceStatus | None
    ) -> Workspace:
        """Give a tenant another plan or status; None keeps what is there.

        Raises:
            GatewayError: ``workspace.unknown``.
        """
        values: dict[str, str] = {}
        if plan is not None:
            values["plan"] = plan
        if status is not None:
            values["status"] = status.value
        with self._writing() as connection:
            if values:
                self._lock_feed(connection)
                changed = queries.UPDATE_WORKSPACE.values(values)
                connection.execute(changed, {"wanted_id": workspace_id})
                now_micro = self._clock.now_micro()
                connection.execute(queries.announce_workspace(workspace_id, now_micro))
                self._shorten_feed(connection, now_micro)
            row = connection.execute(queries.WORKSPACE, {"wanted_id": workspace_id}).one_or_none()
            if row is None:
                raise _workspace_unknown(workspace_id)
            if plan is not None:
                self._note_plan(connection, workspace_id, plan, self._now_micro(connection))
        return _workspace(row)

    def _note_plan(
        self, connection: Connection, workspace_id: str, plan: str, from_micro: int
    ) -> None:
        noted = {"workspace_id": workspace_id, "from_micro": from_micro, "plan": plan}
        connection.execute(queries.note_plan(self._engine.dialect.name), noted)

    def plan_at(self, workspace_id: str, at_micro: int) -> str | None:
        """Return the plan that a tenant had at an instant, None before it was there."""
        with self._reading() as connection:
            asked = {"wanted_id": workspace_id, "at_micro": at_micro}
            plan: str | None = connection.scalar(queries.PLAN_AT, asked)
        return plan

    def workspace(self, workspace_id: str) -> Workspace | None:
        """Return a tenant, or None."""
        with self._reading() as connection:
            row = connection.execute(queries.WORKSPACE, {"wanted_id": workspace_id}).one_or_none()
        return None if row is None else _workspace(row)

    def workspaces(self, *, limit: int, after: str = "") -> Sequence[Workspace]:
        """Return tenants in order of id, beginning behind ``after``."""
        with self._reading() as connection:
            page = {"after": after, "row_limit": limit}
            return [_workspace(row) for row in connection.execute(queries.WORKSPACES_AFTER, page)]

    def plans_in_use(self) -> tuple[PlanUse, ...]:
        """Return the plans that workspaces have, suspended ones too."""
        with self._reading() as connection:
            found = connection.execute(queries.PLANS_IN_USE).all()
        return tuple(PlanUse(row.plan, row.workspaces, row.example) for row in found)

    def create_key(self, key: NewKey) -> None:
        """Add a key; caches that remember it as unknown are told.

        Raises:
            GatewayError: ``workspace.unknown``, or ``key.exists`` for an id or hash that is taken.
        """
        with self._writing() as connection:
            self._lock_feed(connection)
            self._add_key(connection, key)

    def replace_key(self, key_id: str, new: NewKey, *, ends_at_micro: int | None) -> KeyDescription:
        """Add a key and end another in one transaction. See ``create_key`` and ``revoke_key``."""
        with self._writing() as connection:
            self._lock_feed(connection)
            self._add_key(connection, new)
            return self._end_key(connection, key_id, ends_at_micro)

    def _add_key(self, connection: Connection, key: NewKey) -> None:
        features = None if key.features is None else json.dumps(sorted(key.features))
        row = {
            "key_id": key.key_id,
            "key_hash": key.key_hash,
            "prefix": key.prefix,
            "workspace_id": key.workspace_id,
            "name": key.name,
            "created_at_micro": key.created_at_micro,
            "expires_at_micro": key.expires_at_micro,
            "features": features,
            "networks": json.dumps(list(key.networks)),
        }
        found = connection.execute(queries.WORKSPACE, {"wanted_id": key.workspace_id})
        if found.one_or_none() is None:
            raise _workspace_unknown(key.workspace_id)
        try:
            connection.execute(queries.CREATE_KEY, row)
        except IntegrityError as error:
            raise GatewayError(
                "key.exists",
                f"there is a key {key.key_id!r}, or one of the same hash, already",
                "make a new key",
            ) from error
        self._announce(connection, key.key_hash)

    def key(self, key_id: str) -> KeyDescription | None:
        """Return a key, or None."""
        with self._reading() as connection:
            row = connection.execute(queries.KEY, {"wanted_id": key_id}).one_or_none()
        return None if row is None else _description(row)

    def keys(self, workspace_id: str | None, *, limit: int) -> Sequence[KeyDescription]:
        """Return the keys of one workspace or of all, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(queries.list_keys(workspace_id, limit))
            return [_description(row) for row in rows]

    def revoke_key(self, key_id: str, *, at_micro: int | None) -> KeyDescription:
        """End a key at an instant, in the future for a rotation's overlap; None stands for now.

        A key that has ended already stays as it is; an end still to come may be moved.

        Raises:
            GatewayError: ``key.unknown``.
        """
        with self._writing() as connection:
            self._lock_feed(connection)
            return self._end_key(connection, key_id, at_micro)

    def _end_key(self, connection: Connection, key_id: str, at_micro: int | None) -> KeyDescription:
        now_micro = self._now_micro(connection)
        values = {
            "wanted_id": key_id,
            "at_micro": now_micro if at_micro is None else at_micro,
            "now_micro": now_micro,
        }
        connection.execute(queries.REVOKE, values)
        row = connection.execute(queries.KEY, {"wanted_id": key_id}).one_or_none()
        if row is None:
            raise GatewayError(
                "key.unknown", f"there is no key {key_id!r}", "list the keys to see their ids"
            )
        self._announce(connection, bytes(row.key_hash))
        return _description(row)

    def _now_micro(self, connection: Connection) -> int:
        """Return the earlier of both clocks: an operator's that is ahead would end keys late."""
        now_micro = self._clock.now_micro()
        if self._engine.dialect.name == "postgresql":
            now_micro = min(now_micro, int(connection.scalar(queries.NOW)))
        return now_micro

    def touch_keys(self, used_at_micro: dict[str, int]) -> None:
        """Note last uses, at most one an hour for each key (T16); caches need not know."""
        if not used_at_micro:
            return
        values = [
            {"wanted_id": key_id, "used_at_micro": at_micro}
            for key_id, at_micro in sorted(used_at_micro.items())  # in order: no deadlocks
        ]
        with self._writing() as connection:
            connection.execute(queries.TOUCH, values)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with reading(self._engine, DirectoryUnavailable, _CODE) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with writing(self._engine, DirectoryUnavailable, _CODE) as connection:
            yield connection

    def _lock_feed(self, connection: Connection) -> None:
        if self._engine.dialect.name == "postgresql":
            connection.execute(queries.FEED_LOCK)

    def _announce(self, connection: Connection, key_hash: bytes) -> None:
        now_micro = self._clock.now_micro()
        change = {"key_hash": key_hash, "changed_at_micro": now_micro}
        connection.execute(queries.ADD_CHANGE, change)
        self._shorten_feed(connection, now_micro)

    def _shorten_feed(self, connection: Connection, now_micro: int) -> None:
        cutoff_micro = now_micro - queries.FEED_KEPT_MICRO
        connection.execute(queries.DROP_OLD_CHANGES, {"older_than_micro": cutoff_micro})


def _workspace_unknown(workspace_id: str) -> GatewayError:
    return GatewayError(
        "workspace.unknown",
        f"there is no workspace {workspace_id!r}",
        "create it first, or list the workspaces to see their ids",
    )


def _workspace(row: SqlRow) -> Workspace:
    return Workspace(
        workspace_id=row.workspace_id,
        plan=row.plan,
        status=WorkspaceStatus(row.status),
        created_at_micro=row.created_at_micro,
    )


def _description(row: SqlRow) -> KeyDescription:
    return KeyDescription(
        key_id=row.key_id,
        prefix=row.prefix,
        workspace_id=row.workspace_id,
        name=row.name,
        created_at_micro=row.created_at_micro,
        expires_at_micro=row.expires_at_micro,
        revoked_at_micro=row.revoked_at_micro,
        last_used_at_micro=row.last_used_at_micro,
        features=None if row.features is None else tuple(json.loads(row.features)),
        networks=tuple(json.loads(row.networks)),
    )
