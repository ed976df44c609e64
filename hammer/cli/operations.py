"""`prune`, `settings`, `doctor`, `openapi`, `demo` and `version`."""

from collections.abc import Mapping
from itertools import chain
from urllib.parse import urlsplit

import click
from flask import current_app, json

import config
import hammer
from hammer.cli.commands import commands
from hammer.cli.output import full_name, print_table
from hammer.operations import daily, doctor, retention, seals
from hammer.refusals import NotAllowed
from hammer.users import people
from hammer.web.pages import templates
from hammer.web.settings import settings


@commands.command()
@click.option(
    "--restored", is_flag=True, help="A backup was restored: also void codes, sessions, devices, consents; skip places of the feed."
)
def prune(restored: bool) -> None:
    """Delete data past its retention time. Run it every hour.

    It also counts the events of past hours, for the pages at /admin/.

    --restored also skips places in the event feed, so that new events do not get those that apps saw before.
    """
    daily.count_hours(settings())
    seals.seal_all(settings())  # only events that are sealed are deleted
    deleted = retention.prune(settings())
    click.echo("Deleted " + _counted(deleted) + ".")
    if restored:
        click.echo("Voided " + _counted(retention.restored()) + ".")


@commands.command("settings")
def list_settings() -> None:
    """List the settings of this process. Of a secret it shows only whether it is set."""
    given = settings()
    print_table(("SETTING", "VALUE"), ((each.name, each.shown(getattr(given, name))) for name, each in config.DECLARED.items()))


@commands.command("doctor")
@click.pass_context
def examine(ctx: click.Context) -> None:
    """Check the configuration and everything it names."""
    marks = {doctor.FINE: ("ok    ", "green"), doctor.ADVICE: ("advice", "yellow"), doctor.WRONG: ("WRONG ", "red")}
    wrong = 0
    for finding in chain(doctor.examine(settings()), templates.examine(current_app, settings())):
        word, colour = marks[finding.state]
        click.echo(f"{click.style(word, fg=colour)}  {finding.part}: {finding.how}")
        if finding.remedy:
            click.echo(f"        -> {finding.remedy}")
        wrong += finding.state == doctor.WRONG
    if wrong:
        click.echo(f"\n{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.", err=True)
        ctx.exit(1)
    click.echo("\nAll is well.")


@commands.command()
def openapi() -> None:
    """Print the OpenAPI document of the JSON API."""
    from hammer.api import document  # noqa: PLC0415  # no other command needs the API

    click.echo(json.dumps(document(current_app), ensure_ascii=False, indent=2))


@commands.command()
@click.option("--people", "count", type=click.IntRange(2, 100_000), default=300, show_default=True)
@click.option("--seed", type=int, default=3, show_default=True, help="Another seed makes other people.")
@click.option("--more", is_flag=True, help="Even if there are more than a few people already.")
def demo(count: int, seed: int, more: bool) -> None:
    """Fill a development database with people and a history."""
    from hammer.operations import demo as demo_data  # noqa: PLC0415  # no other command needs its lists of names

    try:
        made = demo_data.fill(settings(), people=count, seed=seed, more=more)
    except NotAllowed as no:
        raise click.ClickException("Production is for real people. Set HAMMER_ENV=development and another DATABASE_URL.") from no
    if made is None:
        raise click.ClickException(f"There are {demo_data.FEW} people or more here already. To add others to them: --more")
    seals.seal_all(settings())  # else the service would look as if nothing had been sealed for two weeks
    star = people.profile(settings(), made.most_inviting)
    click.echo(f"Made {made.people} people. Invitations among them: {made.referrals}, up to {made.levels} levels deep.")
    click.echo(f"What they did in the last two weeks is on the operator's pages: {made.events} events, texts and sessions.")
    click.echo(f"{full_name(star) or star.telephone_number} invited most, {star.invite_count}. To sign in as them:")
    steps = [
        f"open {settings().public_url}/login/ and enter {star.telephone_number}",
        f"enter the code; it is {'shown on the page' if settings().demo else 'in the text'}",
    ]
    if config.served_by_another() != settings().public_url:
        steps.insert(0, _serve_command())
    for number, step in enumerate(steps, 1):
        click.echo(f"  {number}. {step}")


@commands.command()
def version() -> None:
    """Print the version of Hammer."""
    click.echo(hammer.__version__)


def _counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in rows.items())


def _serve_command() -> str:
    """The command that serves at the public address."""
    port = urlsplit(settings().public_url).port
    option = f" --port {port}" if port and settings().public_url != config.USUAL_ADDRESS else ""
    return f"flask --app wsgi run{option}"
