"""Lets `prune` delete events that are 90 days old, as `HAMMER_EVENTS_KEPT_DAYS` may say. Younger ones are refused as before."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

REFUSAL = "The audit trail cannot be changed."
# A day less than the least that the setting allows: the clocks of two machines may differ.
ON_SQLITE = "OLD.at <= datetime(pruned_at, '-{days} days')"
ON_POSTGRESQL = "OLD.at <= pruned_at - interval '{days} days'"
MAY_GO = "(SELECT from_id <= OLD.id AND {old} FROM seals WHERE to_id >= OLD.id ORDER BY to_id LIMIT 1) IS NOT TRUE"


def upgrade() -> None:
    _refuse_younger_than(89)


def downgrade() -> None:
    _refuse_younger_than(364)


def _refuse_younger_than(days: int) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER events_refuse_delete")
        op.execute(
            f"CREATE TRIGGER events_refuse_delete BEFORE delete ON events FOR EACH ROW WHEN "
            f"{MAY_GO.format(old=ON_SQLITE.format(days=days))} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )
    else:
        op.execute(
            "CREATE OR REPLACE FUNCTION hammer_refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN IF {MAY_GO.format(old=ON_POSTGRESQL.format(days=days))} THEN "
            f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN OLD; END $$"
        )
