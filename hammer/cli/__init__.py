"""The commands for operators: `flask --app wsgi …`. English only.

A refusal is printed as one line on stderr, with exit code 1.
"""

import click
from flask import Flask

from hammer.cli import audit, clients, keys, operations, sessions, texts, transfers, users, webhooks
from hammer.cli.commands import commands, database_fault
from hammer.db.database import db

__all__ = [
    "audit",
    "clients",
    "database_fault",
    "init_app",
    "init_migrations",
    "keys",
    "operations",
    "sessions",
    "texts",
    "transfers",
    "users",
    "webhooks",
]


def init_app(app: Flask) -> None:
    """Adds the commands to `flask --app wsgi`."""
    for command in commands.commands.values():
        app.cli.add_command(command)
    if click.get_current_context(silent=True):  # under the `flask` command
        init_migrations(app)


def init_migrations(app: Flask) -> None:
    """Sets up Flask-Migrate for `flask db`. A server does without: importing Alembic would be a sixth of its start."""
    from flask_migrate import Migrate  # noqa: PLC0415

    on_sqlite = app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite")
    Migrate(app, db, render_as_batch=on_sqlite)
