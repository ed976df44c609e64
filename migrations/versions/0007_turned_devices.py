"""Adds the turns of a device's token, and to each session the device that opened it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:  # rewrites no row, on both databases
    op.add_column("devices", sa.Column("turns", sa.Integer, nullable=False, server_default="0"))
    op.add_column("devices", sa.Column("turned_at", sa.DateTime(timezone=True)))
    op.add_column("sessions", sa.Column("device_id", sa.String(22)))


def downgrade() -> None:
    op.drop_column("sessions", "device_id")
    op.drop_column("devices", "turned_at")
    op.drop_column("devices", "turns")
