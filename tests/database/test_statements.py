"""One spelling of conflict clauses for both databases."""

from sqlalchemy import Engine, select

from gateway.database.statements import insert_into
from gateway.database.tables import workspaces

ROW = {"workspace_id": "ws", "plan": "FREE", "status": "active", "created_at_micro": 1}


def test_a_conflict_can_be_passed_over_or_merged(database: Engine) -> None:
    insert = insert_into(workspaces, database.dialect.name)
    keep = insert.on_conflict_do_nothing().returning(workspaces.c.workspace_id)
    merge = insert.on_conflict_do_update(
        index_elements=[workspaces.c.workspace_id],
        set_={"created_at_micro": workspaces.c.created_at_micro + insert.excluded.created_at_micro},
    )
    with database.begin() as connection:
        assert len(connection.execute(keep, [ROW, {**ROW, "workspace_id": "b"}]).all()) == 2
        assert connection.execute(keep, [ROW]).all() == []
        connection.execute(merge, [ROW, ROW])
        found = connection.scalar(
            select(workspaces.c.created_at_micro).where(workspaces.c.workspace_id == "ws")
        )
        assert found == 3
