"""Adds second factors: authenticator apps, recovery codes and passkeys; and to events a detail and the reason that staff gave."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:  # rewrites no row, on both databases
    op.add_column("users", sa.Column("passkey_handle", sa.String(43)))
    op.add_column("events", sa.Column("detail", sa.String(40)))
    op.add_column("events", sa.Column("reason", sa.String(200)))
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("links", sa.Integer, nullable=False),
        sa.Column("link_expires_at", sa.DateTime(timezone=True)),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("recovery_generation", sa.Integer, nullable=False),
        sa.Column("recovery_used", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_second_factors"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_second_factors_user_id"),
    )
    op.create_table(
        "passkeys",
        sa.Column("id", sa.String(1364), nullable=False),
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("sign_count", sa.BigInteger, nullable=False),
        sa.Column("backup_eligible", sa.Boolean, nullable=False),
        sa.Column("backed_up", sa.Boolean, nullable=False),
        sa.Column("aaguid", sa.String(36), nullable=False),
        sa.Column("rp_id", sa.String(253), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("for_staff", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_passkeys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_passkeys_user_id"),
    )
    op.create_index("ix_passkeys_user_id", "passkeys", ["user_id"])
    op.create_table(
        "spent_challenges",
        sa.Column("id", sa.String(22), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_spent_challenges"),
    )
    op.create_index("ix_spent_challenges_expires_at", "spent_challenges", ["expires_at"])


def downgrade() -> None:
    for table in ("spent_challenges", "passkeys", "second_factors"):
        op.drop_table(table)
    for column in ("reason", "detail"):
        op.drop_column("events", column)
    op.drop_column("users", "passkey_handle")
