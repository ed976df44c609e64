"""Adds indexes for ten million users: for the search by parts of names and numbers, for exports, and for `prune`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FEW = (("events", "actor_id"), ("verifications", "user_id"), ("sessions", "ended_at"))
"""Columns that are empty in most rows. Their indexes hold only the other rows."""


def upgrade() -> None:
    for table, column in FEW:
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=there, sqlite_where=there)
    database = op.get_bind()
    if database.dialect.name != "postgresql":  # SQLite has no such index; its search reads all users
        return
    try:
        with database.begin_nested():
            database.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except DBAPIError:  # not installed, or no right to create it: the search gives the same results, but reads all users
        return
    op.execute(
        "CREATE INDEX ix_users_search ON users USING gin"
        " (username gin_trgm_ops, (first_name || ' ' || last_name) gin_trgm_ops, telephone_number gin_trgm_ops)"
    )


def downgrade() -> None:
    for table, column in FEW:
        op.drop_index(f"ix_{table}_{column}", table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX IF EXISTS ix_users_search")
