"""The commands for operators: `flask --app wsgi …`. English only.

A refusal is printed as one line on stderr, with exit code 1.
"""

from flask import Flask

from hammer.cli import keys, operations, texts, users
from hammer.cli.commands import commands, database_fault

__all__ = ["database_fault", "init_app", "keys", "operations", "texts", "users"]


def init_app(app: Flask) -> None:
    """Adds the commands to `flask --app wsgi`."""
    for command in commands.commands.values():
        app.cli.add_command(command)
