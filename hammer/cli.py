"""The operator's door: what is done by hand at the machine. English alone; a refusal is one line on stderr and exit code 1."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click
from flask import Flask, current_app, json
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hammer import accounts, doctor, keeping, phones, sessions
from hammer.database import MOST_PER_PAGE
from hammer.refusals import InvalidFields, NotAllowed, NotFound, Refusal, Unavailable
from hammer.tokens import settings


class _Command(click.Command):
    def invoke(self, ctx: click.Context) -> Any:
        """What the command does; a refusal is said in one line."""
        try:
            return super().invoke(ctx)
        except InvalidFields as no:
            raise click.ClickException(" ".join(sentence for field in no.errors.values() for sentence in field)) from no
        except (Unavailable, DBAPIError, PoolTimeout) as error:
            raise click.ClickException(f"The database: {_cause(error)}.\nTo see what to do: flask --app wsgi doctor") from error
        except UnicodeEncodeError as error:
            raise click.ClickException("What was typed is not text in UTF-8.") from error
        except Refusal as no:
            raise click.ClickException(no.sentence) from no


class _Group(AppGroup):
    command_class = _Command


commands = _Group()


def init_app(app: Flask) -> None:
    """Adds the commands to `flask --app wsgi`."""
    for command in commands.commands.values():
        app.cli.add_command(command)


@commands.command()
@click.argument("phone")
def createsuperuser(phone: str) -> None:
    """Make a staff user of PHONE, or make its user staff."""
    try:
        user_id = accounts.find(settings(), phone)
        accounts.set_staff(user_id, True)
    except NotFound:
        user_id = accounts.create(settings(), phone, {}, is_staff=True)
    them = accounts.profile(settings(), user_id)
    click.echo(f"{_called(them)} is staff now.")
    if them.blocked_at:
        click.echo(f"They are blocked. To let them in: flask --app wsgi users block --undo {them.telephone_number}")
    click.echo(f"They sign in like everybody, with this number and the code that is texted to it: {settings().public_url}/login/")


@commands.group(cls=_Group)
def users() -> None:
    """See and change people. USER is a username, or a number in any spelling."""


@users.command("list")
@click.option("--q", metavar="TEXT", default="", help="Only those whose number, name, username or invite code has to do with it.")
@click.option("--limit", type=click.IntRange(1, MOST_PER_PAGE), default=MOST_PER_PAGE, show_default=True, help="Most people shown.")
@click.option("--after", metavar="PLACE", help="Go on from the place that the last page ended with.")
def list_users(q: str, limit: int, after: str | None) -> None:
    """List people in the order they joined."""
    try:
        page = accounts.everyone(settings(), q=q, limit=limit, after=after)
    except InvalidFields as no:
        raise click.ClickException("There is no such place. Take it from the end of the last page.") from no
    if not page.items:
        click.echo("There is nobody" + (" who has to do with that." if q else "."), err=True)
        return
    heads = ("NUMBER", "USERNAME", "NAME", "CODE", "INVITED", "JOINED (UTC)", "")
    _table(
        heads,
        (
            (p.telephone_number, p.username, _name(p), p.invite_code, str(p.invite_count), _moment(p.date_joined), _standing(p))
            for p in page.items
        ),
    )
    if page.after:
        click.echo(f"There are more. To go on, add: --after {page.after}", err=True)


@users.command()
@click.argument("user")
def show(user: str) -> None:
    """Show USER's profile and signed-in devices."""
    user_id = _find(user)
    them = accounts.profile(settings(), user_id)
    facts = {
        "number": phones.pretty(them.telephone_number),
        "username": them.username,
        "name": _name(them),
        "standing": _standing(them),
        "joined": _moment(them.date_joined),
        "invite code": f"{them.invite_code}, {them.invite_count} activated it",
        "activated": them.activated_invite_code or "",
    }
    _table((), ((f"{fact}:", value or "–") for fact, value in facts.items()))
    devices = sessions.devices(user_id)
    click.echo("\nSigned in nowhere." if not devices else "")
    if devices:
        rows = ((d.device, _moment(d.created_at), _moment(d.refreshed_at), _moment(d.expires_at)) for d in devices)
        _table(("DEVICE", "SINCE (UTC)", "LAST REFRESH", "UNTIL"), rows)


@users.command()
@click.argument("user")
@click.option("--undo", is_flag=True, help="Take it away again.")
def make_staff(user: str, undo: bool) -> None:
    """Let USER see and change others."""
    user_id = _find(user)
    accounts.set_staff(user_id, not undo)
    click.echo(f"{_called(accounts.profile(settings(), user_id))} is {'not ' if undo else ''}staff now.")


@users.command()
@click.argument("user")
@click.option("--undo", is_flag=True, help="Let them in again.")
def block(user: str, undo: bool) -> None:
    """Shut USER out, on every device at once."""
    user_id = _find(user)
    accounts.set_blocked(user_id, not undo)
    how = "may sign in again." if undo else "is blocked, and signed out everywhere."
    click.echo(f"{_called(accounts.profile(settings(), user_id))} {how}")


@users.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(user: str, yes: bool) -> None:
    """Forget USER for ever. Others' counts stay true."""
    user_id = _find(user)
    them = accounts.profile(settings(), user_id)
    if not yes:
        click.confirm(f"Forget {_called(them)}, who joined {_moment(them.date_joined)}, for ever?", abort=True)
    accounts.delete(settings(), user_id)
    click.echo(f"{_called(them)} is forgotten.")


@commands.command()
def prune() -> None:
    """Delete what is past its keeping time. Run it every hour."""
    gone = keeping.prune()
    click.echo("Deleted " + ", ".join(f"{count} {what}" for what, count in gone.items()) + ".")


@commands.command("doctor")
@click.pass_context
def examine(ctx: click.Context) -> None:
    """Check the configuration and all that it names."""
    marks = {doctor.FINE: ("ok    ", "green"), doctor.ADVICE: ("advice", "yellow"), doctor.WRONG: ("WRONG ", "red")}
    wrong = 0
    for finding in doctor.examine(settings()):
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
    from hammer.api import document  # noqa: PLC0415  # a neighbour, asked for its document alone

    click.echo(json.dumps(document(current_app), ensure_ascii=False, indent=2))


@commands.command()
@click.option("--people", type=click.IntRange(2, 100_000), default=300, show_default=True)
@click.option("--seed", type=int, default=3, show_default=True, help="Another number makes other people.")
@click.option("--more", is_flag=True, help="Even if there are people already.")
def demo(people: int, seed: int, more: bool) -> None:
    """Fill a development database with people and invitations."""
    from hammer import demo as room  # noqa: PLC0415  # nobody else needs lists of names

    try:
        made = room.fill(settings(), people=people, seed=seed, more=more)
    except NotAllowed as no:
        raise click.ClickException("Production is for real people. Set HAMMER_ENV=development and another DATABASE_URL.") from no
    if made is None:
        raise click.ClickException("There are people here already. To add others to them: --more")
    star = accounts.profile(settings(), made.most_inviting)
    click.echo(f"Made {made.people} people. Invitations among them: {made.referrals}, up to {made.levels} levels deep.")
    click.echo(f"{_name(star) or star.telephone_number} invited most, {star.invite_count}. To sign in as them:")
    click.echo("  1. flask --app wsgi run")
    click.echo(f"  2. open {settings().public_url}/login/ and enter {star.telephone_number}")
    click.echo(f"  3. enter the code; it is {'shown on the page' if settings().demo else 'in the text'}")


def _cause(error: Exception) -> str:
    return doctor.first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)


def _find(user: str) -> str:
    try:
        return accounts.find(settings(), user)
    except NotFound as no:
        raise click.ClickException(f"There is no user {user!r}. To look for one: flask --app wsgi users list --q TEXT") from no


def _called(them: accounts.Profile) -> str:
    also = _shown(" ".join(part for part in (them.username, _name(them)) if part))
    return them.telephone_number + (f" ({also})" if also else "")


def _name(them: accounts.Profile) -> str:
    return f"{them.first_name} {them.last_name}".strip()


def _standing(them: accounts.Profile) -> str:
    return " ".join(word for word, holds in {"staff": them.is_staff, "blocked": them.blocked_at}.items() if holds)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows in columns as wide as what stands in them."""
    lines = [[_shown(cell) for cell in row] for row in ([heads] if heads else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _shown(text: str) -> str:
    """Without signs that would play with the terminal, like those that turn the direction of writing."""
    return "".join(c if c.isprintable() else "�" for c in text)
