"""Adds which request asked for a text."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("texts", sa.Column("request_id", sa.String(64)))


def downgrade() -> None:
    with op.batch_alter_table("texts") as texts:
        texts.drop_column("request_id")
