"""Adds `sessions.refreshes_received`: the last exchange of a refresh token whose answer has certainly arrived."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("refreshes_received", sa.Integer))  # NULL: rewrites no row


def downgrade() -> None:
    op.drop_column("sessions", "refreshes_received")
