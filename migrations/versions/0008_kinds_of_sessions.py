"""Renames `sessions.door` to `kind`."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:  # changes the catalogue only and rewrites no row, on both databases
    op.alter_column("sessions", "door", new_column_name="kind")


def downgrade() -> None:
    op.alter_column("sessions", "kind", new_column_name="door")
