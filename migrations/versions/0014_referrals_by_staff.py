"""Adds what staff change of referrals: who was the referrer, to events, and to users whether they may activate no more."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BEFORE = ("id", "at", "kind", "user_id", "actor_id", "client_id", "request_id", "endpoint_id", "detail", "reason")


def upgrade() -> None:  # rewrites no row, on both databases
    op.add_column("users", sa.Column("activation_closed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("events", sa.Column("referrer_id", sa.String(22)))
    _refuse_changes_of((*BEFORE, "referrer_id"))


def downgrade() -> None:
    _refuse_changes_of(BEFORE)
    op.drop_column("events", "referrer_id")
    op.drop_column("users", "activation_closed")


def _refuse_changes_of(columns: tuple[str, ...]) -> None:
    """Replaces the trigger of migration 0013."""
    old, new = ("(" + ", ".join(f"{of}.{column}" for column in columns) + ")" for of in ("OLD", "NEW"))
    begin = "CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events FOR EACH ROW WHEN"
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER events_refuse_update")
        op.execute(f"{begin} {old} IS NOT {new} BEGIN SELECT RAISE(ABORT, 'The audit trail cannot be changed.'); END")
    else:
        op.execute("DROP TRIGGER events_refuse_update ON events")
        op.execute(f"{begin} ({old} IS DISTINCT FROM {new}) EXECUTE FUNCTION hammer_refuse_change()")
