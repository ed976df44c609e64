"""What all commands have in common: their group, and how refusals are printed."""

from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hammer.operations import doctor
from hammer.refusals import InvalidFields, Refusal, Unavailable


class Command(click.Command):
    """A command that prints a refusal in one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InvalidFields as no:
            raise click.ClickException(" ".join(sentence for field in no.errors.values() for sentence in field)) from no
        except (Unavailable, DBAPIError, PoolTimeout) as error:
            raise database_fault(error) from error
        except UnicodeEncodeError as error:
            raise click.ClickException("An argument is not valid UTF-8.") from error
        except Refusal as no:
            raise click.ClickException(no.sentence) from no


class Group(AppGroup):
    """A group whose commands print refusals in one line."""

    command_class = Command


commands = Group()
"""All commands of Hammer."""


def database_fault(error: Exception) -> click.ClickException:
    """The database's own error message, for the operator. It contains no password."""
    cause = doctor.first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
    return click.ClickException(f"The database: {cause}.\nTo see what to do: flask --app wsgi doctor")
