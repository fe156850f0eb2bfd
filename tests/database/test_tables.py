"""The declared tables are what the migrations make."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Engine, Text

from gateway.database.tables import metadata, usage_events


def test_migrations_give_exactly_the_declared_tables(database: Engine) -> None:
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_comparison_notices_a_column_too_many(database: Engine) -> None:
    altered = type(metadata)()
    for table in metadata.tables.values():
        table.to_metadata(altered)
    altered.tables[usage_events.name].append_column(Column("extra", Text))
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), altered) != []


def test_quantities_and_instants_are_64_bit_integers() -> None:
    """No float ever holds a quantity or an instant."""
    for table in metadata.tables.values():
        for column in table.columns:
            if column.name.endswith("_micro"):
                assert str(column.type) == "BIGINT", column
