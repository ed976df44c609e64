"""Adds the span of the request that asked for a text, where spans are recorded."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("texts", sa.Column("traceparent", sa.String(55)))


def downgrade() -> None:
    with op.batch_alter_table("texts") as texts:
        texts.drop_column("traceparent")
