"""Divides the counters of limits that all callers share into parts, so that logins do not wait for each other.

On PostgreSQL what is used of the present hour and day is divided as the limit is: what is left stays the same. On SQLite, where one
transaction writes at a time, a limit has one part.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

SHARED = "scope IN ('guesses/4', 'guesses/6', 'guesses/8', 'texts/hour', 'texts/day')"
DIVIDE = f"""
    INSERT INTO counters (scope, period, part, taken, ends_at)
    SELECT scope, period, n, taken / 64 + (n < taken % 64)::int, ends_at
    FROM counters, generate_series(1, 63) AS n WHERE {SHARED}
"""  # noqa: S608  # only names of our own are put in
KEEP_FIRST = f"UPDATE counters SET taken = taken / 64 + (0 < taken % 64)::int WHERE part = 0 AND {SHARED}"  # noqa: S608  # as above
ADD_UP = """
    UPDATE counters SET taken = (
        SELECT sum(taken) FROM counters AS parts WHERE parts.scope = counters.scope AND parts.period = counters.period
    )
"""
DROP_OTHERS = """
    DELETE FROM counters WHERE EXISTS (
        SELECT 1 FROM counters AS parts
        WHERE parts.scope = counters.scope AND parts.period = counters.period AND parts.part < counters.part
    )
"""


def upgrade() -> None:
    with op.batch_alter_table("counters") as counters:
        counters.add_column(sa.Column("part", sa.SmallInteger, nullable=False, server_default="0"))
        counters.add_column(sa.Column("made_for", sa.BigInteger))
        counters.drop_constraint("pk_counters", type_="primary")
        counters.create_primary_key("pk_counters", ["scope", "period", "part"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(DIVIDE)
        op.execute(KEEP_FIRST)


def downgrade() -> None:
    op.execute(ADD_UP)
    op.execute(DROP_OTHERS)
    with op.batch_alter_table("counters") as counters:
        counters.drop_constraint("pk_counters", type_="primary")
        counters.drop_column("part")
        counters.drop_column("made_for")
        counters.create_primary_key("pk_counters", ["scope", "period"])
