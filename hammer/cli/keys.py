"""`keys`: the keys that access tokens and id tokens are signed with."""

from datetime import datetime, timedelta
from typing import Final

import click

from hammer import clock
from hammer.cli.commands import Group, commands
from hammer.cli.output import minute, print_table
from hammer.sessions import keys as token_keys
from hammer.sessions.keys import Key, Purpose
from hammer.web.settings import settings

TOKENS: Final = {"access-tokens": Purpose.ACCESS, "id-tokens": Purpose.ID}
_NAMES: Final = {purpose: name for name, purpose in TOKENS.items()}


@commands.group(cls=Group)
def keys() -> None:
    """See and change the keys that sign tokens."""


@keys.command("list")
def list_keys() -> None:
    """List the keys and what each is used for."""
    every, now = [key for purpose in Purpose for key in _by_algorithm(purpose)], clock.now()
    signing = {(key.purpose, key.algorithm): key for key in reversed(every) if key.ends > now}
    rows = [
        (
            key.kid,
            _NAMES[key.purpose],
            key.algorithm,
            minute(key.created_at),
            minute(key.retired_at),
            "signs" if key in signing.values() else _use(key, now),
        )
        for key in every
    ]
    print_table(("KEY", "FOR", "ALGORITHM", "MADE (UTC)", "RETIRES", ""), rows)


@keys.command("rotate")
@click.option(
    "--for",
    "tokens",
    type=click.Choice(list(TOKENS)),
    default="access-tokens",
    show_default=True,
    help="What the new key signs. For id tokens, each algorithm that has a key gets a new one.",
)
@click.option(
    "--ahead",
    metavar="MINUTES",
    type=click.IntRange(0, 24 * 60),
    default=0,
    show_default=True,
    help="Publish it this long before it signs, for services that do not fetch the keys again when they see an unknown one.",
)
def rotate_keys(tokens: str, ahead: int) -> None:
    """Sign with a new key, without a restart. Tokens signed before stay valid until they expire."""
    made = token_keys.rotate(settings(), TOKENS[tokens], ahead=timedelta(minutes=ahead))
    when = f"from {minute(clock.now() + timedelta(minutes=ahead))} UTC on" if ahead else "from now on"
    for new in made:
        click.echo(f"{new.kid} ({new.algorithm}) signs {when}; running servers know it within {token_keys.RELOAD.seconds} seconds.")
    if not made:
        click.echo("There is no key for id tokens yet. It is made with the first app that people sign in to.")


def _by_algorithm(purpose: Purpose) -> list[Key]:
    """The keys for one purpose, those of one algorithm together."""
    return sorted(token_keys.every(settings(), purpose), key=lambda key: key.algorithm)


def _use(key: Key, now: datetime) -> str:
    if not key.signs:
        return "trusted, of SECRET_KEY_PREVIOUS"
    if key.ends > now:
        return "signs next"
    return f"trusted until {minute(key.trusted_until)}" if key.is_trusted(now) else "over"
