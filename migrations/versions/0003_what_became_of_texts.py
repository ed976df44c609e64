"""Adds the state, the gateway and the creation time of each text."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("texts", sa.Column("state", sa.String(9)))
    op.add_column("texts", sa.Column("gateway", sa.String(24)))
    op.add_column("texts", sa.Column("created_at", moment))
    op.execute(
        "UPDATE texts SET created_at = due_at,"
        " state = CASE WHEN ended_at IS NULL THEN 'waiting' WHEN sent THEN 'sent' ELSE 'given up' END"
    )
    with op.batch_alter_table("texts") as texts:
        texts.alter_column("state", existing_type=sa.String(9), nullable=False)
        texts.alter_column("created_at", existing_type=moment, nullable=False)
        texts.drop_column("sent")


def downgrade() -> None:
    op.add_column("texts", sa.Column("sent", sa.Boolean))
    op.execute("UPDATE texts SET sent = state IN ('sent', 'delivered', 'failed')")
    with op.batch_alter_table("texts") as texts:
        texts.alter_column("sent", existing_type=sa.Boolean, nullable=False)
        for column in ("created_at", "gateway", "state"):
            texts.drop_column(column)
