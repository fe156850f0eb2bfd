"""How many requests an event stands for: refusals that are alike share one."""

import sqlalchemy as sa
from alembic import op

revision = "00.01.00_05"
down_revision = "00.01.00_04"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The default is for workers of the release before, which go on writing meanwhile.
    op.add_column(
        "usage_events",
        sa.Column("count", sa.BigInteger, nullable=False, server_default="1", comment="Requests."),
    )


def downgrade() -> None:
    """Drop it: what rollups count stays right, events that stood for many stand for one."""
    op.drop_column("usage_events", "count")
