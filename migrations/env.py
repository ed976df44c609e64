"""Runs the migrations on the database of the application: `flask --app wsgi db upgrade`."""

import warnings

from alembic import context
from flask import current_app
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator

from hammer.cli import database_fault
from hammer.db.database import db


def render_item(kind, item, autogen_context):
    """Writes our own column types as what they are in the database, so that a migration does not import them."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def run(connection: Connection) -> None:
    options = current_app.extensions["migrate"].configure_args
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        render_item=render_item,
        include_object=lambda _object, name, *_: not (name or "").startswith("ix_users_search"),  # they are in no model
        **options,
    )
    with context.begin_transaction(), warnings.catch_warnings():
        # SQLite cannot tell which expression an index is on. A migration that rebuilds `users` there must create that index again.
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("Migrations run on a database; there is no offline mode.")
try:
    with db.engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        run(connection)
except DBAPIError as error:  # server away, wrong password, or no right to create tables
    raise database_fault(error) from error
