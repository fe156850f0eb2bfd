"""Triggers that refuse to change or delete what was billed (D1)."""

from alembic import op

revision = "00.01.00_03"
down_revision = "00.01.00_02"
branch_labels = None
depends_on = None

SQLITE_UP = (
    """CREATE TRIGGER usage_events_no_update BEFORE UPDATE ON usage_events
    BEGIN SELECT RAISE(ABORT, 'usage_events is append-only'); END""",
    """CREATE TRIGGER usage_events_no_delete BEFORE DELETE ON usage_events
    BEGIN SELECT RAISE(ABORT, 'usage_events is append-only'); END""",
    """CREATE TRIGGER usage_quantities_no_update BEFORE UPDATE ON usage_quantities
    BEGIN SELECT RAISE(ABORT, 'usage_quantities is append-only'); END""",
    """CREATE TRIGGER usage_quantities_no_delete BEFORE DELETE ON usage_quantities
    BEGIN SELECT RAISE(ABORT, 'usage_quantities is append-only'); END""",
    # INSERT OR REPLACE deletes without asking delete triggers unless a connection has turned
    # recursive triggers on: a foreign tool's would not, so a second insert is left out here.
    """CREATE TRIGGER usage_events_no_replace BEFORE INSERT ON usage_events
    WHEN EXISTS (SELECT 1 FROM usage_events WHERE event_id = NEW.event_id)
    BEGIN SELECT RAISE(IGNORE); END""",
    """CREATE TRIGGER usage_quantities_no_replace BEFORE INSERT ON usage_quantities
    WHEN EXISTS (
        SELECT 1 FROM usage_quantities WHERE event_id = NEW.event_id AND meter = NEW.meter
    )
    BEGIN SELECT RAISE(IGNORE); END""",
)

SQLITE_DOWN = (
    "DROP TRIGGER usage_quantities_no_replace",
    "DROP TRIGGER usage_events_no_replace",
    "DROP TRIGGER usage_quantities_no_delete",
    "DROP TRIGGER usage_quantities_no_update",
    "DROP TRIGGER usage_events_no_delete",
    "DROP TRIGGER usage_events_no_update",
)

POSTGRESQL_UP = (
    """CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$""",
    """CREATE TRIGGER usage_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON usage_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
    """CREATE TRIGGER usage_quantities_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON usage_quantities FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
)

POSTGRESQL_DOWN = (
    "DROP TRIGGER usage_quantities_append_only ON usage_quantities",
    "DROP TRIGGER usage_events_append_only ON usage_events",
    "DROP FUNCTION refuse_change()",
)


def upgrade() -> None:
    for statement in POSTGRESQL_UP if _is_postgresql() else SQLITE_UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in POSTGRESQL_DOWN if _is_postgresql() else SQLITE_DOWN:
        op.execute(statement)


def _is_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"
