"""Creates users, referrals, sessions, verifications, send_allowances and texts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)
random_id = sa.String(22)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", random_id, nullable=False),
        sa.Column("telephone_number", sa.String(16)),
        sa.Column("invite_code", sa.String(6), nullable=False),
        sa.Column("invite_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("username", sa.String(30)),
        sa.Column("first_name", sa.String(150), nullable=False, server_default=""),
        sa.Column("last_name", sa.String(150), nullable=False, server_default=""),
        sa.Column("is_staff", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("date_joined", moment, nullable=False),
        sa.Column("blocked_at", moment),
        sa.Column("deleted_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("telephone_number", name="uq_users_telephone_number"),
        sa.UniqueConstraint("invite_code", name="uq_users_invite_code"),
    )
    op.create_index("uq_users_lower_username", "users", [sa.text("lower(username)")], unique=True)
    op.create_index("ix_users_date_joined_id", "users", ["date_joined", "id"])
    op.create_table(
        "referrals",
        sa.Column("referee_id", random_id, nullable=False),
        sa.Column("referrer_id", random_id, nullable=False),
        sa.Column("activated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("referee_id", name="pk_referrals"),
        sa.ForeignKeyConstraint(["referee_id"], ["users.id"], name="fk_referrals_referee_id"),
        sa.ForeignKeyConstraint(["referrer_id"], ["users.id"], name="fk_referrals_referrer_id"),
        sa.CheckConstraint("referee_id <> referrer_id", name=op.f("ck_referrals_not_oneself")),
    )
    op.create_index("ix_referrals_newest", "referrals", ["referrer_id", "activated_at", "referee_id"])
    op.create_table(
        "sessions",
        sa.Column("id", random_id, nullable=False),
        sa.Column("user_id", random_id, nullable=False),
        sa.Column("door", sa.String(7), nullable=False),
        sa.Column("device", sa.String(80), nullable=False),
        sa.Column("refreshes", sa.Integer, nullable=False),
        sa.Column("refreshed_at", moment, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("ended_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "verifications",
        sa.Column("id", random_id, nullable=False),
        sa.Column("telephone_number", sa.String(16), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("code_length", sa.SmallInteger, nullable=False),
        sa.Column("guesses", sa.SmallInteger, nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("invite_code", sa.String(6)),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("consumed_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_verifications"),
    )
    op.create_index("ix_verifications_telephone_number", "verifications", ["telephone_number"])
    op.create_index("ix_verifications_expires_at", "verifications", ["expires_at"])
    op.create_table(
        "send_allowances",
        sa.Column("number_hash", sa.String(64), nullable=False),
        sa.Column("day_began_at", moment, nullable=False),
        sa.Column("sends", sa.SmallInteger, nullable=False),
        sa.Column("streak", sa.SmallInteger, nullable=False),
        sa.Column("next_send_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("number_hash", name="pk_send_allowances"),
    )
    op.create_index("ix_send_allowances_day_began_at", "send_allowances", ["day_began_at"])
    op.create_table(
        "texts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("verification_id", random_id, nullable=False),
        sa.Column("tries", sa.SmallInteger, nullable=False),
        sa.Column("due_at", moment, nullable=False),
        sa.Column("ended_at", moment),
        sa.Column("sent", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_texts"),
        sa.ForeignKeyConstraint(["verification_id"], ["verifications.id"], name="fk_texts_verification_id", ondelete="CASCADE"),
    )
    op.create_index("ix_texts_verification_id", "texts", ["verification_id"])
    waiting = sa.text("ended_at IS NULL")
    op.create_index("ix_texts_waiting", "texts", ["due_at"], postgresql_where=waiting, sqlite_where=waiting)


def downgrade() -> None:
    for table in ("texts", "send_allowances", "verifications", "sessions", "referrals", "users"):
        op.drop_table(table)
