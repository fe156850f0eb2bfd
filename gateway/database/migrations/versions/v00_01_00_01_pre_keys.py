"""Workspaces, API keys and the feed that tells caches of their changes."""

import sqlalchemy as sa
from alembic import op

revision = "00.01.00_01"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "workspaces",
        sa.Column("workspace_id", NAME, nullable=False),
        sa.Column("plan", NAME, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("created_at_micro", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_workspaces"),
        comment="Tenants: who is limited and billed.",
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", NAME, nullable=False),
        sa.Column(
            "key_hash", sa.LargeBinary(32), nullable=False, comment="SHA-256 of the whole key."
        ),
        sa.Column("prefix", NAME, nullable=False),
        sa.Column("workspace_id", NAME, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at_micro", sa.BigInteger, nullable=False),
        sa.Column("expires_at_micro", sa.BigInteger),
        sa.Column("revoked_at_micro", sa.BigInteger),
        sa.Column("last_used_at_micro", sa.BigInteger),
        sa.Column(
            "features", sa.Text, comment="JSON array of strings, or NULL: all of the plan's."
        ),
        sa.Column("networks", sa.Text, nullable=False, comment="JSON array of CIDR blocks."),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.workspace_id"], name="fk_api_keys_workspace_id"
        ),
        comment="API keys; the secrets themselves are nowhere.",
    )
    op.create_index("uq_api_keys_key_hash", "api_keys", ["key_hash"], unique=True)
    op.create_index("ix_api_keys_workspace_id", "api_keys", ["workspace_id"])
    op.create_table(
        "key_changes",
        sa.Column("sequence", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("changed_at_micro", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_key_changes"),
        comment="Which keys caches must forget; written in the transaction of the change.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_key_changes_changed_at_micro", "key_changes", ["changed_at_micro"])


def downgrade() -> None:
    op.drop_table("key_changes")
    op.drop_table("api_keys")
    op.drop_table("workspaces")
