"""Which refreshed tokens of a session were seen in use, so that the window for lost answers closes then."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("refreshes_received", sa.Integer))  # empty: no row is written


def downgrade() -> None:
    op.drop_column("sessions", "refreshes_received")
