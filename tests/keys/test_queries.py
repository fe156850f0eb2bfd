"""Each statement does what its comment says, and those of the request path use an index."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Connection, Engine, text

from gateway.keys import queries
from tests.support.query_plans import whole_table_reads

HASH = b"h" * 32
KEY_VALUES: Mapping[str, Any] = {
    "key_hash": HASH, "prefix": "egw_live_abcd", "workspace_id": "acme", "name": "",
    "created_at_micro": 100, "features": None, "networks": "[]",
}  # fmt: skip


def workspace(connection: Connection, workspace_id: str, plan: str = "STARTER") -> None:
    values = {"workspace_id": workspace_id, "plan": plan, "status": "active"}
    connection.execute(queries.CREATE_WORKSPACE, {**values, "created_at_micro": 1})


def key(connection: Connection, key_id: str, **values: Any) -> None:
    key_hash = key_id.encode().ljust(32, b".")
    given = {**KEY_VALUES, "key_id": key_id, "key_hash": key_hash, **values}
    connection.execute(queries.CREATE_KEY, given)


def ended_at(connection: Connection, key_id: str) -> int | None:
    row = connection.execute(queries.KEY, {"wanted_id": key_id}).one()
    at_micro: int | None = row.revoked_at_micro
    return at_micro


def revoke(connection: Connection, key_id: str, *, at: int, now: int) -> int:
    values = {"wanted_id": key_id, "at_micro": at, "now_micro": now}
    return connection.execute(queries.REVOKE, values).rowcount


@pytest.fixture
def connection(database: Engine) -> Any:
    with database.connect() as opened:
        workspace(opened, "acme", "GROWTH")
        workspace(opened, "other")
        key(opened, "k1")
        yield opened
        opened.rollback()


def test_entry_joins_a_key_with_its_workspace(connection: Connection) -> None:
    wanted = b"k1".ljust(32, b".")

    row = connection.execute(queries.ENTRY, {"wanted_hash": wanted}).one()

    assert (row.key_id, row.workspace_id, row.plan, row.status) == (
        "k1",
        "acme",
        "GROWTH",
        "active",
    )
    assert connection.execute(queries.ENTRY, {"wanted_hash": HASH}).all() == []


def test_a_key_ends_once_but_a_planned_end_may_be_moved(connection: Connection) -> None:
    assert revoke(connection, "k1", at=500, now=200) == 1
    assert revoke(connection, "k1", at=300, now=200) == 1
    assert ended_at(connection, "k1") == 300

    assert revoke(connection, "k1", at=900, now=300) == 0
    assert ended_at(connection, "k1") == 300


def test_last_use_is_written_once_an_hour(connection: Connection) -> None:
    hour = queries.TOUCH_INTERVAL_MICRO

    def touch(used_at_micro: int) -> int:
        values = {"wanted_id": "k1", "used_at_micro": used_at_micro}
        return connection.execute(queries.TOUCH, values).rowcount

    assert [touch(at) for at in (1_000, 1_001, hour + 999, hour + 1_000)] == [1, 0, 0, 1]


def test_a_change_of_a_workspace_is_one_of_each_of_its_keys(connection: Connection) -> None:
    key(connection, "k2")
    key(connection, "k3", workspace_id="other")
    start = connection.execute(queries.LATEST_CHANGE).scalar_one()

    connection.execute(queries.announce_workspace("acme", 700))

    changed = connection.execute(queries.CHANGES_AFTER, {"position": start}).all()
    assert {bytes(row.key_hash)[:2] for row in changed} == {b"k1", b"k2"}
    assert [row.sequence for row in changed] == sorted(row.sequence for row in changed)
    assert connection.execute(queries.LATEST_CHANGE).scalar_one() == changed[-1].sequence


def test_latest_change_of_an_empty_feed_is_zero(connection: Connection) -> None:
    assert connection.execute(queries.LATEST_CHANGE).scalar_one() == 0


def test_only_old_changes_are_dropped(connection: Connection) -> None:
    for at_micro in (10, 20, 30):
        change = {"key_hash": HASH, "changed_at_micro": at_micro}
        connection.execute(queries.ADD_CHANGE, change)

    dropped = connection.execute(queries.DROP_OLD_CHANGES, {"older_than_micro": 20})

    assert dropped.rowcount == 1
    assert len(connection.execute(queries.CHANGES_AFTER, {"position": 0}).all()) == 2


def test_workspaces_come_in_pages_by_byte_order(connection: Connection) -> None:
    for name in ("Zed", "a-b", "a_b"):
        workspace(connection, name)
    pages, after = [], ""
    while page := connection.execute(
        queries.WORKSPACES_AFTER, {"after": after, "row_limit": 2}
    ).all():
        pages.append([row.workspace_id for row in page])
        after = pages[-1][-1]

    assert pages == [["Zed", "a-b"], ["a_b", "acme"], ["other"]]


def test_keys_are_listed_oldest_first(connection: Connection) -> None:
    key(connection, "old", created_at_micro=1)
    key(connection, "k0")
    key(connection, "foreign", workspace_id="other", created_at_micro=0)

    def listed(workspace_id: str | None, limit: int) -> list[str]:
        rows = connection.execute(queries.list_keys(workspace_id, limit))
        return [row.key_id for row in rows]

    assert listed("acme", 10) == ["old", "k0", "k1"]
    assert listed(None, 2) == ["foreign", "old"]
    assert listed("nobody", 10) == []


PLANS: Mapping[str, tuple[ClauseElement, Mapping[str, Any]]] = {
    "ENTRY": (queries.ENTRY, {"wanted_hash": HASH}),
    "CHANGES_AFTER": (queries.CHANGES_AFTER, {"position": 1}),
    "KEY": (queries.KEY, {"wanted_id": "k1"}),
    "WORKSPACES_AFTER": (queries.WORKSPACES_AFTER, {"after": "a", "row_limit": 5}),
    "DROP_OLD_CHANGES": (queries.DROP_OLD_CHANGES, {"older_than_micro": 5}),
}


@pytest.mark.parametrize("name", PLANS)
def test_statement_looks_into_an_index(name: str, connection: Connection) -> None:
    statement, values = PLANS[name]

    assert whole_table_reads(connection, statement, values) == []


def test_a_plan_without_index_is_noticed(connection: Connection) -> None:
    statement = text("SELECT * FROM api_keys WHERE name = 'x'")

    assert whole_table_reads(connection, statement, {}) != []
