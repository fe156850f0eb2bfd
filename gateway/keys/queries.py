"""All SQL of workspaces and keys, each statement named and explained. Nothing here is executed."""

from typing import Final

from sqlalchemy import (
    BindParameter,
    Insert,
    Select,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import text as sql_text

from gateway.database.statements import ConflictInsert, insert_into
from gateway.database.tables import api_keys, key_changes, workspace_plans, workspaces

TOUCH_INTERVAL_MICRO: Final = 3_600_000_000
"""T16: a key's last use is written at most once an hour, whoever and however many write it."""

FEED_KEPT_MICRO: Final = 86_400_000_000
"""Older changes are dropped: caches that were away for so long start afresh (keys.feed)."""

FEED_LOCK: Final = sql_text("SELECT pg_advisory_xact_lock(7308046392640300389)")
"""Makes PostgreSQL's writers of the change feed take turns until they commit (the number is
"ekeysfee" in ASCII). Sequence numbers are drawn before the commit: without the lock a slow
transaction's numbers would become visible after a reader had passed them. SQLite has one writer at
a time anyway."""

ENTRY: Final = (
    select(
        api_keys.c.key_id,
        api_keys.c.key_hash,
        api_keys.c.prefix,
        api_keys.c.workspace_id,
        workspaces.c.plan,
        workspaces.c.status,
        api_keys.c.expires_at_micro,
        api_keys.c.revoked_at_micro,
        api_keys.c.features,
        api_keys.c.networks,
    )
    .join_from(api_keys, workspaces)
    .where(api_keys.c.key_hash == bindparam("wanted_hash"))
)
"""A key with its workspace, by hash: the look-up of the request path on a cache miss."""

PLANS_IN_USE: Final = (
    select(
        workspaces.c.plan,
        func.count().label("workspaces"),
        func.min(workspaces.c.workspace_id).label("example"),
    )
    .group_by(workspaces.c.plan)
    .order_by(workspaces.c.plan)
)
"""Which plans the price lists must have."""

LATEST_CHANGE: Final = select(func.coalesce(func.max(key_changes.c.sequence), 0))
"""Where the change feed ends."""

CHANGES_AFTER: Final = (
    select(key_changes.c.sequence, key_changes.c.key_hash)
    .where(key_changes.c.sequence > bindparam("position"))
    .order_by(key_changes.c.sequence)
)
"""What a cache must forget."""

ADD_CHANGE: Final = insert(key_changes)
"""Announce one key's change."""

DROP_OLD_CHANGES: Final = delete(key_changes).where(
    key_changes.c.changed_at_micro < bindparam("older_than_micro")
)
"""Keep the feed short; run beside every announcement, so that the feed is never emptied by it."""

NOW: Final = sql_text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")
"""PostgreSQL's clock in microseconds, which operators and gateways share."""

CREATE_WORKSPACE: Final = insert(workspaces)
"""A new tenant; its id must be free."""

CREATE_KEY: Final = insert(api_keys)
"""A new key of an existing workspace."""

WORKSPACE: Final = select(workspaces).where(workspaces.c.workspace_id == bindparam("wanted_id"))
"""One tenant."""

WORKSPACES_AFTER: Final = (
    select(workspaces)
    .where(workspaces.c.workspace_id > bindparam("after"))
    .order_by(workspaces.c.workspace_id)
    .limit(bindparam("row_limit"))
)
"""A page of tenants in order of their ids."""

UPDATE_WORKSPACE: Final = update(workspaces).where(
    workspaces.c.workspace_id == bindparam("wanted_id")
)
"""Another plan or status; the values are given at execution."""

PLAN_AT: Final = (
    select(workspace_plans.c.plan)
    .where(
        workspace_plans.c.workspace_id == bindparam("wanted_id"),
        workspace_plans.c.from_micro <= bindparam("at_micro"),
    )
    .order_by(workspace_plans.c.from_micro.desc())
    .limit(1)
)
"""The plan that a tenant had at an instant."""

KEY: Final = select(api_keys).where(api_keys.c.key_id == bindparam("wanted_id"))
"""One key, by id."""

REVOKE: Final = (
    update(api_keys)
    .where(
        api_keys.c.key_id == bindparam("wanted_id"),
        or_(
            api_keys.c.revoked_at_micro.is_(None),
            api_keys.c.revoked_at_micro > bindparam("now_micro"),
        ),
    )
    .values(revoked_at_micro=bindparam("at_micro"))
)
"""End a key at an instant. One that has ended stays ended; a planned end may be moved."""

TOUCH: Final = (
    update(api_keys)
    .where(
        api_keys.c.key_id == bindparam("wanted_id"),
        or_(
            api_keys.c.last_used_at_micro.is_(None),
            api_keys.c.last_used_at_micro <= bindparam("used_at_micro") - TOUCH_INTERVAL_MICRO,
        ),
    )
    .values(last_used_at_micro=bindparam("used_at_micro"))
)
"""Note a last use unless one within the hour is noted already (T16)."""


def note_plan(dialect: str) -> ConflictInsert:
    """Note a tenant's plan from an instant on."""
    note = insert_into(workspace_plans, dialect)
    return note.on_conflict_do_update(
        index_elements=list(workspace_plans.primary_key.columns),
        set_={"plan": note.excluded.plan},
    )


def announce_workspace(workspace_id: str, at_micro: int) -> Insert:
    """Announce a change of all keys of a workspace."""
    at: BindParameter[int] = bindparam(
        "at_micro", at_micro, type_=key_changes.c.changed_at_micro.type
    )
    keys = select(api_keys.c.key_hash, at).where(api_keys.c.workspace_id == workspace_id)
    return insert(key_changes).from_select(["key_hash", "changed_at_micro"], keys)


def list_keys(workspace_id: str | None, limit: int) -> Select[tuple[object, ...]]:
    """Keys of one workspace or of all, oldest first."""
    statement = select(api_keys).order_by(api_keys.c.created_at_micro, api_keys.c.key_id)
    if workspace_id is not None:
        statement = statement.where(api_keys.c.workspace_id == workspace_id)
    return statement.limit(limit)
