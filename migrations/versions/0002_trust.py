"""Creates devices, counters, tombstones, token_keys and events; adds owners to verifications, notices to texts, `seen_at` to
sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)
random_id = sa.String(22)


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column("id", random_id, nullable=False),
        sa.Column("user_id", random_id, nullable=False),
        sa.Column("guesses", sa.SmallInteger, nullable=False),
        sa.Column("known_since", moment, nullable=False),
        sa.Column("used_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_devices_user_id"),
    )
    op.create_index("ix_devices_user_id", "devices", ["user_id"])
    op.create_index("ix_devices_used_at", "devices", ["used_at"])
    op.create_table(
        "counters",
        sa.Column("scope", sa.String(80), nullable=False),
        sa.Column("period", sa.Integer, nullable=False),
        sa.Column("taken", sa.Integer, nullable=False),
        sa.Column("ends_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("scope", "period", name="pk_counters"),
    )
    op.create_index("ix_counters_ends_at", "counters", ["ends_at"])
    op.create_table(
        "tombstones",
        sa.Column("number_hash", sa.String(64), nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("number_hash", name="pk_tombstones"),
    )
    op.create_index("ix_tombstones_expires_at", "tombstones", ["expires_at"])
    op.create_table(
        "token_keys",
        sa.Column("id", random_id, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("retired_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_token_keys"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("user_id", random_id),
        sa.Column("actor_id", random_id),
        sa.Column("request_id", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_index("ix_events_user_id", "events", ["user_id"])
    op.add_column("verifications", sa.Column("user_id", random_id))
    op.add_column("verifications", sa.Column("device_id", random_id))
    op.add_column("texts", sa.Column("telephone_number", sa.String(16)))
    op.add_column("texts", sa.Column("language", sa.String(8)))
    with op.batch_alter_table("texts") as texts:
        texts.alter_column("verification_id", existing_type=random_id, nullable=True)
    op.add_column("sessions", sa.Column("seen_at", moment))
    op.execute("UPDATE sessions SET seen_at = refreshed_at")
    with op.batch_alter_table("sessions") as sessions:
        sessions.alter_column("seen_at", existing_type=moment, nullable=False)


def downgrade() -> None:
    op.execute("DELETE FROM texts WHERE verification_id IS NULL")
    with op.batch_alter_table("texts") as texts:
        texts.alter_column("verification_id", existing_type=random_id, nullable=False)
        texts.drop_column("telephone_number")
        texts.drop_column("language")
    with op.batch_alter_table("verifications") as verifications:
        verifications.drop_column("user_id")
        verifications.drop_column("device_id")
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("seen_at")
    for table in ("events", "token_keys", "tombstones", "counters", "devices"):
        op.drop_table(table)
