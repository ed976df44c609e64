"""Adds seals of the audit trail, and lets the database refuse changes of events and seals.

SQLite drops the triggers of a table when a migration rebuilds it: one that rebuilds `events` or `seals` must create them again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BY_STAFF = sa.text("actor_id IS NOT NULL")
NOT_PRUNED = sa.text("pruned_at IS NULL")
OF_EVENTS = ("id", "at", "kind", "user_id", "actor_id", "client_id", "request_id", "endpoint_id", "detail", "reason")
OF_SEALS = ("id", "from_id", "to_id", "rows", "newest_at", "sha256", "previous", "sealed_at", "hmac")
REFUSAL = "The audit trail cannot be changed."
# Events of a range that `prune` has marked in the same transaction, and that are old, may be deleted.
ON_SQLITE = "OLD.at <= datetime(pruned_at, '-364 days')"
ON_POSTGRESQL = "OLD.at <= pruned_at - interval '364 days'"
MAY_GO = "(SELECT from_id <= OLD.id AND {old} FROM seals WHERE to_id >= OLD.id ORDER BY to_id LIMIT 1) IS NOT TRUE"


def upgrade() -> None:
    op.create_index("ix_events_staff", "events", ["id"], postgresql_where=BY_STAFF, sqlite_where=BY_STAFF)
    op.create_table(
        "seals",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("from_id", sa.BigInteger, nullable=False),
        sa.Column("to_id", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("newest_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hmac", sa.String(64), nullable=False),
        sa.Column("marks", sa.LargeBinary),
        sa.Column("pruned_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_seals"),
        sa.UniqueConstraint("to_id", name="uq_seals_to_id"),
    )
    op.create_index("ix_seals_not_pruned", "seals", ["newest_at"], postgresql_where=NOT_PRUNED, sqlite_where=NOT_PRUNED)
    if op.get_bind().dialect.name == "sqlite":
        _refuse_on_sqlite()
    else:
        _refuse_on_postgresql()


def downgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in ("events", "seals"):
        for what in ("update", "delete") if on_sqlite else ("update", "delete", "truncate"):
            op.execute(f"DROP TRIGGER {table}_refuse_{what}" + ("" if on_sqlite else f" ON {table}"))
    if not on_sqlite:
        for function in ("refuse_change", "refuse_deletion"):
            op.execute(f"DROP FUNCTION hammer_{function}()")
    op.drop_table("seals")
    op.drop_index("ix_events_staff", "events")


def _row(of: str, columns: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"{of}.{column}" for column in columns) + ")"


def _changed(columns: tuple[str, ...], operator: str) -> str:
    return f"{_row('OLD', columns)} {operator} {_row('NEW', columns)}"


def _refuse_on_sqlite() -> None:
    triggers = {
        ("events", "update"): _changed(OF_EVENTS, "IS NOT"),
        ("events", "delete"): MAY_GO.format(old=ON_SQLITE),
        ("seals", "update"): f"OLD.pruned_at IS NOT NULL OR {_changed(OF_SEALS, 'IS NOT')}",
        ("seals", "delete"): "TRUE",
    }
    for (table, what), when in triggers.items():
        op.execute(
            f"CREATE TRIGGER {table}_refuse_{what} BEFORE {what} ON {table} FOR EACH ROW WHEN {when} "
            f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )


def _refuse_on_postgresql() -> None:
    refuse = f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'"
    op.execute(f"CREATE FUNCTION hammer_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refuse}; END $$")
    op.execute(
        "CREATE FUNCTION hammer_refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN IF {MAY_GO.format(old=ON_POSTGRESQL)} THEN {refuse}; END IF; RETURN OLD; END $$"
    )
    for table, what, when, function in (
        ("events", "update", f"FOR EACH ROW WHEN ({_changed(OF_EVENTS, 'IS DISTINCT FROM')})", "change"),
        ("events", "delete", "FOR EACH ROW", "deletion"),
        ("events", "truncate", "FOR EACH STATEMENT", "change"),
        ("seals", "update", f"FOR EACH ROW WHEN (OLD.pruned_at IS NOT NULL OR {_changed(OF_SEALS, 'IS DISTINCT FROM')})", "change"),
        ("seals", "delete", "FOR EACH ROW", "change"),
        ("seals", "truncate", "FOR EACH STATEMENT", "change"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_refuse_{what} BEFORE {what} ON {table} {when} EXECUTE FUNCTION hammer_refuse_{function}()"
        )
