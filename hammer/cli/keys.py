"""`keys`: the keys that access tokens are signed with."""

from datetime import datetime, timedelta

import click

from hammer import clock
from hammer.cli.commands import Group, commands
from hammer.cli.output import minute, print_table
from hammer.sessions import keys as token_keys
from hammer.web.settings import settings


@commands.group(cls=Group)
def keys() -> None:
    """See and change the keys that sign access tokens."""


@keys.command("list")
def list_keys() -> None:
    """List the keys and what each is used for."""
    every, now = token_keys.every(settings()), clock.now()
    rows = [(key.kid, minute(key.created_at), minute(key.retired_at), _use(key, every, now)) for key in every]
    print_table(("KEY", "MADE (UTC)", "RETIRES", ""), rows)


@keys.command("rotate")
@click.option(
    "--ahead",
    metavar="MINUTES",
    type=click.IntRange(0, 24 * 60),
    default=0,
    show_default=True,
    help="Publish it this long before it signs, for services that do not fetch the keys again when they see an unknown one.",
)
def rotate_keys(ahead: int) -> None:
    """Sign with a new key, without a restart. Tokens signed before stay valid until they expire."""
    new = token_keys.rotate(settings(), ahead=timedelta(minutes=ahead))
    when = f"from {minute(clock.now() + timedelta(minutes=ahead))} UTC on" if ahead else "from now on"
    click.echo(f"{new.kid} signs {when}; running servers know it within {token_keys.RELOAD.seconds} seconds.")


def _use(key: token_keys.Key, every: list[token_keys.Key], now: datetime) -> str:
    if key == token_keys.signing(every):
        return "signs"
    if key.ends > now:
        return "signs next"
    return f"trusted until {minute(key.ends + token_keys.TRUSTED_AFTER_RETIREMENT)}" if key.is_trusted(now) else "over"
