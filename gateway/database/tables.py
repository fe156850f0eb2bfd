"""Every table, once. Migrations bring a database to exactly this; a test compares the two.

Instants are microseconds since the Unix epoch, quantities micro-units, both as 64-bit integers.
Names compare byte by byte on both databases (collation ``C``), so that order and paging agree.

Source: design section 8; requirements B2, C7, D1.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

Name = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared and ordered by its bytes."""

Sequence = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the database counts up; SQLite does that for INTEGER alone."""

workspaces = Table(
    "workspaces",
    metadata,
    Column("workspace_id", Name, primary_key=True),
    Column("plan", Name, nullable=False),
    Column("status", Name, nullable=False),
    Column("created_at_micro", BigInteger, nullable=False),
    comment="Tenants: who is limited and billed.",
)

workspace_plans = Table(
    "workspace_plans",
    metadata,
    Column("workspace_id", Name, ForeignKey(workspaces.c.workspace_id), primary_key=True),
    Column("from_micro", BigInteger, primary_key=True),
    Column("plan", Name, nullable=False),
    comment="Plans of tenants and since when; bills of past months are made by them.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Name, primary_key=True),
    Column("key_hash", LargeBinary(32), nullable=False, comment="SHA-256 of the whole key."),
    Column("prefix", Name, nullable=False),
    Column("workspace_id", Name, ForeignKey(workspaces.c.workspace_id), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at_micro", BigInteger, nullable=False),
    Column("expires_at_micro", BigInteger),
    Column("revoked_at_micro", BigInteger),
    Column("last_used_at_micro", BigInteger),
    Column("features", Text, comment="JSON array of strings, or NULL: all of the plan's."),
    Column("networks", Text, nullable=False, comment="JSON array of CIDR blocks."),
    Index("uq_api_keys_key_hash", "key_hash", unique=True),
    Index("ix_api_keys_workspace_id", "workspace_id"),
    comment="API keys; the secrets themselves are nowhere.",
)

key_changes = Table(
    "key_changes",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("key_hash", LargeBinary(32), nullable=False),
    Column("changed_at_micro", BigInteger, nullable=False),
    Index("ix_key_changes_changed_at_micro", "changed_at_micro"),
    comment="Which keys caches must forget; written in the transaction of the change.",
    sqlite_autoincrement=True,
)

usage_events = Table(
    "usage_events",
    metadata,
    Column("event_id", Name, primary_key=True),
    Column("request_id", Name, nullable=False),
    Column("occurred_at_micro", BigInteger, nullable=False),
    Column("workspace_id", Name),
    Column("key_id", Name),
    Column("plan", Name),
    Column("route", Name),
    Column("method", Name, nullable=False),
    Column("run_id", Name),
    Column("status", Integer, nullable=False),
    Column("outcome", Name, nullable=False),
    Column("code", Name),
    Column("billable", Boolean, nullable=False),
    Column("reason", Name, nullable=False),
    Column("repeat", Boolean, nullable=False),
    Column("pricing_version", Name),
    Column("period", Name, nullable=False),
    Column("flags", Text, nullable=False, comment="JSON array of strings."),
    Column("violated", Text, nullable=False, comment="JSON array of strings."),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("latency_micro", BigInteger, nullable=False),
    Column("upstream_micro", BigInteger, nullable=False),
    Column("record_version", Integer, nullable=False),
    Column("count", BigInteger, nullable=False, server_default="1", comment="Requests."),
    Index("ix_usage_events_workspace_id_period_event_id", "workspace_id", "period", "event_id"),
    Index("ix_usage_events_occurred_at_micro", "occurred_at_micro"),
    comment="One row per request, append-only: triggers refuse UPDATE and DELETE.",
)

usage_quantities = Table(
    "usage_quantities",
    metadata,
    Column("event_id", Name, ForeignKey(usage_events.c.event_id), primary_key=True),
    Column("meter", Name, primary_key=True),
    Column("quantity_micro", BigInteger, nullable=False),
    Column("charged_micro", BigInteger, nullable=False),
    comment="What an event used and what is billed of it, per meter; append-only.",
)

charged_runs = Table(
    "charged_runs",
    metadata,
    Column("workspace_id", Name, primary_key=True),
    Column("run_id", Name, primary_key=True),
    Column("event_id", Name, nullable=False),
    Column("occurred_at_micro", BigInteger, nullable=False),
    Index("ix_charged_runs_occurred_at_micro", "occurred_at_micro"),
    comment="Which event a run was billed by, so that no other bills it again.",
)

usage_rollups = Table(
    "usage_rollups",
    metadata,
    Column("granularity", Name, primary_key=True, comment="hour or month."),
    Column("workspace_id", Name, primary_key=True),
    Column("meter", Name, primary_key=True),
    Column("bucket", Name, primary_key=True, comment="2026-11, or 2026-11-20T22:00Z."),
    Column("period", Name, primary_key=True, comment="The billing period that the bucket is in."),
    Column("requests", BigInteger, nullable=False),
    Column("billable_events", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("repeats", BigInteger, nullable=False),
    Column("charged_micro", BigInteger, nullable=False),
    Column("charged_max_micro", BigInteger, nullable=False),
    Index("ix_usage_rollups_granularity_period", "granularity", "period"),
    comment="Sums of events, kept in the transaction that inserts them.",
)
