"""Adds webhooks and the event feed: the places of events in the feed, endpoints, deliveries and attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UNPUBLISHED = sa.text("sequence = 0")
PUBLISHED = sa.text("sequence > 0")
WAITING = sa.text("ended_at IS NULL")
BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:  # rewrites no row, on both databases
    op.add_column("events", sa.Column("endpoint_id", sa.String(22)))
    op.add_column("events", sa.Column("sequence", sa.BigInteger))
    op.create_index("ix_events_unpublished", "events", ["id"], postgresql_where=UNPUBLISHED, sqlite_where=UNPUBLISHED)
    op.create_index("uq_events_sequence", "events", ["sequence"], unique=True, postgresql_where=PUBLISHED, sqlite_where=PUBLISHED)
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(22), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("types", sa.Text, nullable=False, server_default=""),
        sa.Column("client_id", sa.String(22)),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
        sa.Column("disabled_for", sa.String(7)),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True)),
        sa.Column("slow", sa.Boolean),
        sa.Column("claims", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("endpoint_id", sa.String(22), nullable=False),
        sa.Column("event_id", sa.Integer, nullable=False),
        sa.Column("tries", sa.SmallInteger, nullable=False),
        sa.Column("delivered", sa.Boolean),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name="fk_webhook_deliveries_endpoint_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name="fk_webhook_deliveries_event_id", ondelete="CASCADE"),
        sa.UniqueConstraint("event_id", "endpoint_id", name="uq_webhook_deliveries_event_id_endpoint_id"),
    )
    waiting = "ix_webhook_deliveries_waiting"
    columns = ["endpoint_id", "due_at", "id"]
    op.create_index(waiting, "webhook_deliveries", columns, postgresql_where=WAITING, sqlite_where=WAITING)
    op.create_index("ix_webhook_deliveries_due_at", "webhook_deliveries", ["due_at"])
    if op.get_bind().dialect.name == "postgresql":
        # One endpoint may have nearly all deliveries. PostgreSQL would assume that each has as many, and look for the first one of
        # another endpoint by reading all deliveries in the order of `due_at`.
        op.execute("ALTER TABLE webhook_deliveries ALTER COLUMN endpoint_id SET (n_distinct = 1000)")
    op.create_table(
        "webhook_attempts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("endpoint_id", sa.String(22), nullable=False),
        sa.Column("event_id", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("fault", sa.String(7)),
        sa.Column("took_ms", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_attempts"),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name="fk_webhook_attempts_endpoint_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_webhook_attempts_newest", "webhook_attempts", ["endpoint_id", "id"])
    op.create_index("ix_webhook_attempts_at", "webhook_attempts", ["at"])


def downgrade() -> None:
    for table in ("webhook_attempts", "webhook_deliveries", "webhook_endpoints"):
        op.drop_table(table)
    op.drop_index("uq_events_sequence", "events")
    op.drop_index("ix_events_unpublished", "events")
    for column in ("sequence", "endpoint_id"):
        op.drop_column("events", column)
