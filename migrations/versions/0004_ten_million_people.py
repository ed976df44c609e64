"""Indexes for ten million people: by which part of a name or a number is found, and for exports and for `prune`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FEW = (("events", "actor_id"), ("verifications", "user_id"), ("sessions", "ended_at"))
"""Columns that are empty in most rows."""


def upgrade() -> None:
    for table, column in FEW:
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=there, sqlite_where=there)
    database = op.get_bind()
    if database.dialect.name != "postgresql":  # SQLite has none of the kind, and reads through its users
        return
    try:
        with database.begin_nested():
            database.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except DBAPIError:  # not installed, or not ours to create: the search finds the same, and reads through all users for it
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
