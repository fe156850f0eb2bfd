"""What Alembic runs: the connection comes from gateway.database.schema, its transaction too."""

from alembic import context

from gateway.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's DDL is transactional as well, once the driver keeps its hands off (engine.py).
    transactional_ddl=True,
)
context.run_migrations()
