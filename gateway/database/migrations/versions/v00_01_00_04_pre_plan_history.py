"""Which plan a workspace had when; a bill of a month that has passed is made by it."""

import sqlalchemy as sa
from alembic import op

revision = "00.01.00_04"
down_revision = "00.01.00_03"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "workspace_plans",
        sa.Column("workspace_id", NAME, nullable=False),
        sa.Column("from_micro", sa.BigInteger, nullable=False),
        sa.Column("plan", NAME, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "from_micro", name="pk_workspace_plans"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.workspace_id"], name="fk_workspace_plans_workspace_id"
        ),
        comment="Plans of tenants and since when; bills of past months are made by them.",
    )
    # What they had before is written nowhere.
    op.execute(
        "INSERT INTO workspace_plans (workspace_id, from_micro, plan)"
        " SELECT workspace_id, created_at_micro, plan FROM workspaces"
    )


def downgrade() -> None:
    op.drop_table("workspace_plans")
