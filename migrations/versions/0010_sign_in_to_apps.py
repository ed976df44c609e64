"""Adds what apps that people sign in to need: their addresses, authorizations, consents, logout notices and keys for id tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

WAITING = sa.text("ended_at IS NULL")
HAS_PARENT = sa.text("parent_id IS NOT NULL")


def upgrade() -> None:  # rewrites no row, on both databases
    op.add_column("clients", sa.Column("redirect_uris", sa.Text, nullable=False, server_default=""))
    op.add_column("clients", sa.Column("post_logout_redirect_uris", sa.Text, nullable=False, server_default=""))
    op.add_column("clients", sa.Column("backchannel_logout_uri", sa.Text))
    op.add_column("clients", sa.Column("algorithm", sa.String(5), nullable=False, server_default="RS256"))
    op.add_column("clients", sa.Column("first_party", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("clients", sa.Column("public", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("clients", sa.Column("pkce_required", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("sessions", sa.Column("parent_id", sa.String(22)))
    op.add_column("sessions", sa.Column("scopes", sa.String(60)))
    op.create_index("ix_sessions_parent_id", "sessions", ["parent_id"], postgresql_where=HAS_PARENT, sqlite_where=HAS_PARENT)
    op.add_column("token_keys", sa.Column("purpose", sa.String(6), nullable=False, server_default="access"))
    op.add_column("token_keys", sa.Column("algorithm", sa.String(5), nullable=False, server_default="EdDSA"))
    op.add_column("token_keys", sa.Column("encrypted", sa.LargeBinary))
    op.create_table(
        "authorizations",
        sa.Column("id", sa.String(22), nullable=False),
        sa.Column("client_id", sa.String(22), nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("scopes", sa.String(60), nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("nonce", sa.Text),
        sa.Column("code_challenge", sa.String(43)),
        sa.Column("prompt", sa.String(40), nullable=False, server_default=""),
        sa.Column("max_age", sa.Integer),
        sa.Column("login_hint", sa.String(16)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("session_id", sa.String(22)),
        sa.Column("consumed_at", sa.DateTime(timezone=True)),
        sa.Column("grant_id", sa.String(22)),
        sa.PrimaryKeyConstraint("id", name="pk_authorizations"),
    )
    op.create_index("ix_authorizations_expires_at", "authorizations", ["expires_at"])
    op.create_table(
        "consents",
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("client_id", sa.String(22), nullable=False),
        sa.Column("scopes", sa.String(60), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "client_id", name="pk_consents"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_consents_user_id"),
    )
    op.create_table(
        "logout_notices",
        sa.Column("id", sa.String(22), nullable=False),
        sa.Column("client_id", sa.String(22), nullable=False),
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("session_id", sa.String(22), nullable=False),
        sa.Column("tries", sa.SmallInteger, nullable=False),
        sa.Column("delivered", sa.Boolean),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_logout_notices"),
    )
    op.create_index("ix_logout_notices_waiting", "logout_notices", ["due_at"], postgresql_where=WAITING, sqlite_where=WAITING)
    op.create_index("ix_logout_notices_created_at", "logout_notices", ["created_at"])


def downgrade() -> None:
    op.execute("DELETE FROM sessions WHERE kind = 'app'")
    op.execute("DELETE FROM token_keys WHERE purpose = 'id'")  # it would count as a key of access tokens
    for table in ("logout_notices", "consents", "authorizations"):
        op.drop_table(table)
    for column in ("encrypted", "algorithm", "purpose"):
        op.drop_column("token_keys", column)
    op.drop_index("ix_sessions_parent_id", "sessions")
    for column in ("scopes", "parent_id"):
        op.drop_column("sessions", column)
    for column in (
        "pkce_required",
        "public",
        "first_party",
        "algorithm",
        "backchannel_logout_uri",
        "post_logout_redirect_uris",
        "redirect_uris",
    ):
        op.drop_column("clients", column)
