"""Adds the clients of the operator, the client of a session, device, verification and event, and the metadata of users."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:  # rewrites no row, on both databases
    op.create_table(
        "clients",
        sa.Column("id", sa.String(22), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("scopes", sa.String(200), nullable=False),
        sa.Column("origins", sa.Text, nullable=False, server_default=""),
        sa.Column("sends_per_hour", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False, server_default="0"),
        sa.Column("rotated_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
        sa.Column("disables", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_clients"),
        sa.UniqueConstraint("name", name="uq_clients_name"),
    )
    op.add_column("sessions", sa.Column("client_id", sa.String(22)))
    op.add_column("devices", sa.Column("client_id", sa.String(22)))
    op.add_column("verifications", sa.Column("client_id", sa.String(22)))
    op.add_column("verifications", sa.Column("device", sa.String(80)))
    op.add_column("events", sa.Column("client_id", sa.String(22)))
    op.add_column("users", sa.Column("app_metadata", sa.Text))


def downgrade() -> None:
    op.drop_column("users", "app_metadata")
    op.drop_column("events", "client_id")
    op.drop_column("verifications", "device")
    op.drop_column("verifications", "client_id")
    op.drop_column("devices", "client_id")
    op.drop_column("sessions", "client_id")
    op.drop_table("clients")
