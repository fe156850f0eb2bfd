"""The ledger: events, their quantities, charged runs, rollups."""

import sqlalchemy as sa
from alembic import op

revision = "00.01.00_02"
down_revision = "00.01.00_01"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    _create_events()
    _create_quantities_and_runs()
    _create_rollups()


def _create_events() -> None:
    op.create_table(
        "usage_events",
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("request_id", NAME, nullable=False),
        sa.Column("occurred_at_micro", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", NAME),
        sa.Column("key_id", NAME),
        sa.Column("plan", NAME),
        sa.Column("route", NAME),
        sa.Column("method", NAME, nullable=False),
        sa.Column("run_id", NAME),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("code", NAME),
        sa.Column("billable", sa.Boolean, nullable=False),
        sa.Column("reason", NAME, nullable=False),
        sa.Column("repeat", sa.Boolean, nullable=False),
        sa.Column("pricing_version", NAME),
        sa.Column("period", NAME, nullable=False),
        sa.Column("flags", sa.Text, nullable=False, comment="JSON array of strings."),
        sa.Column("violated", sa.Text, nullable=False, comment="JSON array of strings."),
        sa.Column("bytes_in", sa.BigInteger, nullable=False),
        sa.Column("bytes_out", sa.BigInteger, nullable=False),
        sa.Column("latency_micro", sa.BigInteger, nullable=False),
        sa.Column("upstream_micro", sa.BigInteger, nullable=False),
        sa.Column("record_version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_usage_events"),
        comment="One row per request, append-only: triggers refuse UPDATE and DELETE.",
    )
    op.create_index(
        "ix_usage_events_workspace_id_period_event_id",
        "usage_events",
        ["workspace_id", "period", "event_id"],
    )
    op.create_index("ix_usage_events_occurred_at_micro", "usage_events", ["occurred_at_micro"])


def _create_quantities_and_runs() -> None:
    op.create_table(
        "usage_quantities",
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("meter", NAME, nullable=False),
        sa.Column("quantity_micro", sa.BigInteger, nullable=False),
        sa.Column("charged_micro", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("event_id", "meter", name="pk_usage_quantities"),
        sa.ForeignKeyConstraint(
            ["event_id"], ["usage_events.event_id"], name="fk_usage_quantities_event_id"
        ),
        comment="What an event used and what is billed of it, per meter; append-only.",
    )
    op.create_table(
        "charged_runs",
        sa.Column("workspace_id", NAME, nullable=False),
        sa.Column("run_id", NAME, nullable=False),
        sa.Column("event_id", NAME, nullable=False),
        sa.Column("occurred_at_micro", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "run_id", name="pk_charged_runs"),
        comment="Which event a run was billed by, so that no other bills it again.",
    )
    op.create_index("ix_charged_runs_occurred_at_micro", "charged_runs", ["occurred_at_micro"])


def _create_rollups() -> None:
    op.create_table(
        "usage_rollups",
        sa.Column("granularity", NAME, nullable=False, comment="hour or month."),
        sa.Column("workspace_id", NAME, nullable=False),
        sa.Column("meter", NAME, nullable=False),
        sa.Column("bucket", NAME, nullable=False, comment="2026-11, or 2026-11-20T22:00Z."),
        sa.Column(
            "period", NAME, nullable=False, comment="The billing period that the bucket is in."
        ),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("billable_events", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
        sa.Column("repeats", sa.BigInteger, nullable=False),
        sa.Column("charged_micro", sa.BigInteger, nullable=False),
        sa.Column("charged_max_micro", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "granularity", "workspace_id", "meter", "bucket", "period", name="pk_usage_rollups"
        ),
        comment="Sums of events, kept in the transaction that inserts them.",
    )
    op.create_index(
        "ix_usage_rollups_granularity_period", "usage_rollups", ["granularity", "period"]
    )


def downgrade() -> None:
    op.drop_table("usage_rollups")
    op.drop_table("charged_runs")
    op.drop_table("usage_quantities")
    op.drop_table("usage_events")
