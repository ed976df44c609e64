"""Adds indexes by which staff find people: the last digits of numbers, beginnings of names, staff, blocked and deleted people.

An index on an expression is in no model: databases write expressions in different ways. SQLite itself has a `lower` for ASCII
alone, and the application has one of its own. With that in an index of names, other programs could not change the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

FEW = {
    "staff": ("is_staff", "is_staff = 1"),
    "blocked": ("blocked_at IS NOT NULL",) * 2,
    "deleted": ("deleted_at IS NOT NULL",) * 2,
}
"""Index -> which few rows it holds, on PostgreSQL and on SQLite."""
LAST_DIGITS = "substr(telephone_number, length(telephone_number) - 3)"
NAMES = {
    "name": ("first_name || ' ' || last_name", "first_name <> ''"),
    "reversed": ("last_name || ' ' || first_name", "last_name <> ''"),
}
"""Index -> expression, and which rows it holds: nearly all new people have no name yet."""


def upgrade() -> None:
    for name, (on_postgresql, on_sqlite) in FEW.items():
        where = {"postgresql_where": sa.text(on_postgresql), "sqlite_where": sa.text(on_sqlite)}
        op.create_index(f"ix_users_{name}", "users", ["date_joined", "id"], **where)
    op.execute(f"CREATE INDEX ix_users_search_digits ON users (({LAST_DIGITS}), date_joined)")
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    by_bytes = ' COLLATE "C"'  # else an index of PostgreSQL serves no beginnings in most languages
    for name, (expression, where) in NAMES.items():
        indexed = f"(lower({expression})){by_bytes}" if on_postgresql else f"({expression})"
        op.execute(f"CREATE INDEX ix_users_search_{name} ON users ({indexed}, date_joined) WHERE {where}")
    if on_postgresql:  # on SQLite `uq_users_lower_username` serves beginnings
        op.execute(
            f"CREATE INDEX ix_users_search_username ON users ((lower(username)){by_bytes}, date_joined) WHERE username IS NOT NULL"
        )


def downgrade() -> None:
    for name in ("ix_users_search_username", "ix_users_search_reversed", "ix_users_search_name", "ix_users_search_digits"):
        op.execute(f"DROP INDEX IF EXISTS {name}")
    for name in FEW:
        op.drop_index(f"ix_users_{name}", "users")
