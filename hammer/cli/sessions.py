"""`sessions`: end the sessions of everybody."""

from datetime import UTC, datetime
from typing import Any

import click

from hammer import clock
from hammer.cli.commands import Group, commands
from hammer.sessions import cutoff


class Moment(click.ParamType["datetime"]):
    """A moment of ISO 8601, like `2026-11-30T22:00` or `2026-11-30T22:00+03:00`; UTC where no offset is given."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no moment like 2026-11-30T22:00 (UTC) or 2026-11-30T22:00+03:00.", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment > clock.now():
            self.fail(f"{value!r} has not come yet. To end all sessions: --all", param, ctx)
        return moment.astimezone(UTC)


@commands.group(cls=Group)
def sessions() -> None:
    """End the sessions of everybody."""


@sessions.command("end")
@click.option(
    "--before", metavar="MOMENT", type=Moment(), help="Those that began before, like 2026-11-30T22:00; UTC without offset."
)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def end_sessions(before: datetime | None, everything: bool, dry_run: bool, yes: bool) -> None:
    """End sessions of everybody at once, with all their tokens.

    A session counts by its sign-in: refreshing it since does not save it. Apps in which people signed in with Hammer are told, as
    when they sign out. Devices stay known. May be called again if it was interrupted.
    """
    if (before is None) != everything:
        raise click.UsageError("Say which: either --before MOMENT or --all.")
    which = f"that began before {before:%F %T} UTC" if before else "in all"
    sessions, people = cutoff.count(before)
    click.echo(f"{sessions} live sessions {which}, of {people} people.")
    if dry_run or not sessions:
        return
    if not yes:
        click.confirm("End them? These people have to sign in again.", abort=True)
    total = 0
    for ended in cutoff.end(before):
        total += ended
    click.echo(f"Ended {total} sessions.")
