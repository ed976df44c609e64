"""`audit`: whether the audit trail is what was sealed."""

import click

from hammer.cli.commands import Group, commands
from hammer.operations import audit as trail
from hammer.operations import seals
from hammer.web.settings import settings


@commands.group(cls=Group)
def audit() -> None:
    """Verify the audit trail, and show the newest seal."""


@audit.command()
@click.option("--head", "heads", multiple=True, metavar="HASH", help="The hash of a seal that you kept elsewhere; may be repeated.")
@click.pass_context
def verify(ctx: click.Context, heads: tuple[str, ...]) -> None:
    """Compare all events with their seals. Exits with 1 if an event was altered, deleted or added since, or a seal was changed."""
    found = trail.verify(settings(), [head.strip().lower() for head in heads])
    for flaw in found.flaws:
        click.echo(flaw)
    if found.more:
        click.echo(f"And {found.more} more.")
    pruned = f"; {found.pruned} more were deleted after their time" if found.pruned else ""
    click.echo(f"Compared {found.events} events with {found.seals} seals{pruned}. Not sealed yet: {found.unsealed}.")
    if found.late:
        hours = f"{trail.LATE.total_seconds() / 3600:g} h"
        click.echo(f"Made more than {hours} after their events: {found.late} seals, the newest is {found.last_late}.", err=True)
    if found.flaws:
        click.echo("The audit trail is not what was sealed.", err=True)
        ctx.exit(1)


@audit.command()
def head() -> None:
    """Show the newest seal in one line. Keep it elsewhere: `verify --head` finds out whether it is still in the chain."""
    newest = seals.newest()
    if newest is None:
        raise click.ClickException("Nothing is sealed yet. A server or `flask --app wsgi worker` seals once a minute.")
    click.echo(seals.described(newest))
