"""INSERT with a conflict clause, which SQLAlchemy spells apart for the two databases."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

ConflictInsert = postgresql.Insert | sqlite.Insert


def insert_into(table: Table, dialect: str) -> ConflictInsert:
    """Return an INSERT that understands ``on_conflict_do_nothing`` and ``on_conflict_do_update``.

    Args:
        table: Where to.
        dialect: ``engine.dialect.name``.
    """
    if dialect == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
