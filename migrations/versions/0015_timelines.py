"""Replaces the indexes by which the events of one user are found by indexes that also have their order, for timelines."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

COLUMNS = ("user_id", "actor_id")
BY_OTHERS = sa.text("actor_id IS NOT NULL")


def upgrade() -> None:
    for column in COLUMNS:
        op.create_index(f"ix_events_{column}_at_id", "events", [column, "at", "id"], **_only(column))
        op.drop_index(f"ix_events_{column}", "events")


def downgrade() -> None:
    for column in COLUMNS:
        op.create_index(f"ix_events_{column}", "events", [column], **_only(column))
        op.drop_index(f"ix_events_{column}_at_id", "events")


def _only(column: str) -> dict[str, sa.TextClause]:
    return {"postgresql_where": BY_OTHERS, "sqlite_where": BY_OTHERS} if column == "actor_id" else {}
