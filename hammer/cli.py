"""The operator's door: what is done by hand at the machine. English alone; a refusal is one line on stderr and exit code 1."""

import logging
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import click
from babel.languages import get_official_languages
from flask import Flask, current_app, json
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

import config
from hammer import clock
from hammer.db.pagination import MOST_PER_PAGE
from hammer.models import MessageState
from hammer.operations import doctor, retention
from hammer.parsing import phones
from hammer.refusals import InvalidFields, NotAllowed, NotFound, Refusal, TelephoneNumberTaken, Unavailable
from hammer.sessions import keys as token_keys
from hammer.sessions import sessions
from hammer.sms import gateways, messages, outbox
from hammer.users import accounts, people
from hammer.web.settings import settings

log = logging.getLogger(__name__)


class _Command(click.Command):
    def invoke(self, ctx: click.Context) -> Any:
        """What the command does; a refusal is said in one line."""
        try:
            return super().invoke(ctx)
        except InvalidFields as no:
            raise click.ClickException(" ".join(sentence for field in no.errors.values() for sentence in field)) from no
        except (Unavailable, DBAPIError, PoolTimeout) as error:
            raise database_fault(error) from error
        except UnicodeEncodeError as error:
            raise click.ClickException("What was typed is not text in UTF-8.") from error
        except Refusal as no:
            raise click.ClickException(no.sentence) from no


def database_fault(error: Exception) -> click.ClickException:
    """What the database itself said, for the operator. It names no password."""
    cause = doctor.first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
    return click.ClickException(f"The database: {cause}.\nTo see what to do: flask --app wsgi doctor")


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
        user_id = people.find(settings(), phone)
        accounts.set_staff(user_id, True)
    except NotFound:
        user_id = accounts.create(settings(), phone, {}, is_staff=True)
    them = people.profile(settings(), user_id)
    click.echo(f"{_called(them)} is staff now.")
    if them.blocked_at:
        click.echo(f"They are blocked. To let them in: flask --app wsgi users block --undo {them.telephone_number}")
    where = "shown on the page" if settings().demo else "texted to it"
    click.echo(f"They sign in like everybody, with this number and the code that is {where}: {settings().public_url}/login/")


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
        page = people.everyone(settings(), q=q, limit=limit, after=after)
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
    them = people.profile(settings(), user_id)
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
        rows = ((d.device, _moment(d.created_at), _moment(d.seen_at), _moment(d.expires_at)) for d in devices)
        _table(("DEVICE", "SINCE (UTC)", "LAST USED", "UNTIL"), rows)


@users.command()
@click.argument("user")
@click.option("--undo", is_flag=True, help="Take it away again.")
def make_staff(user: str, undo: bool) -> None:
    """Let USER see and change others."""
    user_id = _find(user)
    accounts.set_staff(user_id, not undo)
    click.echo(f"{_called(people.profile(settings(), user_id))} is {'not ' if undo else ''}staff now.")


@users.command()
@click.argument("user")
@click.option("--undo", is_flag=True, help="Let them in again.")
def block(user: str, undo: bool) -> None:
    """Shut USER out, on every device at once."""
    user_id = _find(user)
    accounts.set_blocked(user_id, not undo)
    how = "may sign in again." if undo else "is blocked, and signed out everywhere."
    click.echo(f"{_called(people.profile(settings(), user_id))} {how}")


@users.command()
@click.argument("user")
@click.option("--by-id", is_flag=True, help="USER is the id in a log's line of a deletion.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(user: str, by_id: bool, yes: bool) -> None:
    """Forget USER for ever. Others' counts stay true."""
    user_id = user if by_id else _find(user)
    them = people.profile(settings(), user_id)
    if not yes:
        click.confirm(f"Forget {_called(them)}, who joined {_moment(them.date_joined)}, for ever?", abort=True)
    accounts.delete(settings(), user_id)
    click.echo(f"{_called(them)} is forgotten.")


@users.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--language", type=click.Choice(messages.languages()), help="Of the text to OLD; else that of its country, or English."
)
@click.option("--sign-out", is_flag=True, help="End their sessions too. Else they stay: the person is the same.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def move(old: str, new: str, language: str | None, sign_out: bool, yes: bool) -> None:
    """Give the user of the number OLD another one.

    As when a numbering plan has changed: they sign in with NEW alone from now on, and keep all that they have. OLD gets a text
    that says so. Codes that are under way to it, and the devices that are known by it, are forgotten.
    """
    user_id = _find(old)
    them = people.profile(settings(), user_id)
    number = phones.read(settings(), new)
    if number == them.telephone_number:
        raise click.ClickException(f"{number} is their number already.")
    if not yes:
        click.confirm(f"Let {_called(them)} sign in with {number} alone from now on?", abort=True)
    try:
        accounts.move(settings(), user_id, number, language=language or _language(them.telephone_number), end_sessions=sign_out)
    except TelephoneNumberTaken as no:
        free = f"To look at it: flask --app wsgi users show {number}"
        raise click.ClickException(f"There is a user with {number} already. {free}") from no
    click.echo(f"{number} is the number of {_called(them)} now, and {them.telephone_number} opens nothing any more.")
    if not sign_out and sessions.devices(user_id):
        click.echo("They stay signed in where they are. To end that too: --sign-out, or `users block` and then `--undo`.")


@users.command()
@click.option("--full", is_flag=True, help="Show whole numbers, as `users move` takes them.")
def unreadable(full: bool) -> None:
    """List numbers that are none any more.

    Their numbering plan has changed since they were stored, so no sign-in with them is possible. `users move` gives one user
    another number; HAMMER_EXTRA_RANGES lets a range of numbers in.
    """
    seen, plans = 0, Counter[str]()
    for seen, found in enumerate(people.unreadable(settings()), 1):  # noqa: B007  # how many there were is said below
        if found:
            number = found.telephone_number if full else phones.masked(found.telephone_number)
            plans[phones.plan_of(found.telephone_number)] += 1
            click.echo(f"{number}  {_moment(found.date_joined)}")
    for plan, count in sorted(plans.items()):
        click.echo(f"{plan}: {count}", err=True)
    click.echo(f"{plans.total()} of {seen} stored numbers are no mobile numbers any more.", err=True)


@commands.group(cls=_Group)
def keys() -> None:
    """See and change the keys that access tokens are signed with."""


@keys.command("list")
def list_keys() -> None:
    """List the keys, and what each is good for."""
    every, now = token_keys.every(settings()), clock.now()
    heads = ("KEY", "MADE (UTC)", "RETIRES", "")
    made = (_moment(key.created_at) if key.created_at else "–" for key in every)
    ends = (_moment(key.retired_at) if key.retired_at else "–" for key in every)
    _table(heads, zip((key.kid for key in every), made, ends, (_use(key, every, now) for key in every), strict=True))


@keys.command("rotate")
@click.option(
    "--ahead",
    metavar="MINUTES",
    type=click.IntRange(0, 24 * 60),
    default=0,
    show_default=True,
    help="Publish it so long before it signs, for services that do not ask again at a key that they do not know.",
)
def rotate_keys(ahead: int) -> None:
    """Sign with a new key. What was signed before stays good until it expires; nothing needs a restart."""
    new = token_keys.rotate(settings(), ahead=timedelta(minutes=ahead))
    when = f"from {_moment(clock.now() + timedelta(minutes=ahead))} UTC on" if ahead else "from now on"
    click.echo(f"{new.kid} signs {when}; running servers know within {token_keys.RELOAD.seconds} seconds.")


@commands.group(cls=_Group)
def texts() -> None:
    """See what became of texts, and try the gateways."""


@texts.command("list")
@click.option("--state", type=click.Choice(MessageState), help="Only those that it is so with.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most texts shown.")
def list_texts(state: str | None, limit: int) -> None:
    """List texts, the newest first, and count what became of them."""
    rows = [
        (
            *(str(t.id), t.telephone_number or "", t.state, t.gateway or "", str(t.tries), _moment(t.asked_at)),
            _moment(t.ended_at) if t.ended_at else "",
        )
        for t in outbox.newest(limit, state=state).items
    ]
    if rows:
        _table(("ID", "NUMBER", "STATE", "GATEWAY", "TRIES", "ASKED FOR (UTC)", "LEFT, OR GIVEN UP"), rows)
    status = outbox.status()
    counts = [f"{count} {state}{f' by {gateway}' if gateway else ''}" for (state, gateway), count in sorted(status.newest.items())]
    click.echo(f"Of the newest {outbox.COUNTED}: {', '.join(counts)}." if counts else "There are no texts.", err=True)
    if status.waiting:
        waits = status.oldest_waiting.total_seconds()
        click.echo(f"{status.waiting} {'waits' if status.waiting == 1 else 'wait'}, the oldest for {waits:.0f} seconds.", err=True)


@texts.command("try")
@click.argument("phone")
@click.pass_context
def try_gateways(ctx: click.Context, phone: str) -> None:
    """Send PHONE one real text, by the first gateway that takes it, and tell how each did."""
    number = phones.read(settings(), phone)
    fault = "there is none"
    for gateway, fault, seconds in outbox.send_test_message(settings(), number):
        click.echo(f"{gateway}: {fault or 'took the text'}, after {seconds:.1f} s")
    if fault:
        click.echo("No gateway took it. To see what is wrong: flask --app wsgi doctor", err=True)
        ctx.exit(1)
    click.echo(f"It is on its way to {number}. Look whether it arrives: a gateway may take a text and drop it.")


@commands.command()
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Texts that are on their way at once.")
def worker(threads: int) -> None:
    """Carry texts to the gateways, until SIGTERM or SIGINT.

    The texts at hand are finished then. For servers with HAMMER_SMS_THREADS=0, in as many processes and machines as one likes.
    """
    gateways.check(settings())
    told = threading.Event()
    formerly = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    carriers = outbox.sender_threads(current_app._get_current_object(), threads)  # type: ignore[attr-defined]  # for other threads
    carriers.start()
    log.info("Carrying texts, %d at once.", threads)
    while not told.wait(1) and carriers.alive:
        pass
    for number, handler in formerly.items():  # who tells it twice does not want to wait
        signal.signal(number, handler)
    broken = not told.is_set()
    carriers.stop()
    if broken:
        raise click.ClickException("A thread has died, and its trace stands above. Start it again.")
    log.info("Stopped; no text was left half carried.")


@commands.command()
@click.option("--restored", is_flag=True, help="Void all codes, sessions and known devices: a backup was restored.")
def prune(restored: bool) -> None:
    """Delete what is past its keeping time. Run it every hour."""
    gone = retention.prune()
    click.echo("Deleted " + _counted(gone) + ".")
    if restored:
        click.echo("Voided " + _counted(retention.restored()) + ".")


@commands.command("settings")
def list_settings() -> None:
    """List the settings of this process. Of a secret it is shown only whether it is set."""
    given = settings()
    _table(("SETTING", "VALUE"), ((each.name, each.shown(getattr(given, name))) for name, each in config.DECLARED.items()))


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
    from hammer.api import document  # noqa: PLC0415  # other commands do not need the API

    click.echo(json.dumps(document(current_app), ensure_ascii=False, indent=2))


@commands.command()
@click.option("--people", "many", type=click.IntRange(2, 100_000), default=300, show_default=True)
@click.option("--seed", type=int, default=3, show_default=True, help="Another number makes other people.")
@click.option("--more", is_flag=True, help="Even if there are more than a few people already.")
def demo(many: int, seed: int, more: bool) -> None:
    """Fill a development database with people and invitations."""
    from hammer.operations import demo as room  # noqa: PLC0415  # nobody else needs lists of names

    try:
        made = room.fill(settings(), people=many, seed=seed, more=more)
    except NotAllowed as no:
        raise click.ClickException("Production is for real people. Set HAMMER_ENV=development and another DATABASE_URL.") from no
    if made is None:
        raise click.ClickException(f"There are {room.FEW} people or more here already. To add others to them: --more")
    star = people.profile(settings(), made.most_inviting)
    click.echo(f"Made {made.people} people. Invitations among them: {made.referrals}, up to {made.levels} levels deep.")
    click.echo(f"{_name(star) or star.telephone_number} invited most, {star.invite_count}. To sign in as them:")
    steps = [
        f"open {settings().public_url}/login/ and enter {star.telephone_number}",
        f"enter the code; it is {'shown on the page' if settings().demo else 'in the text'}",
    ]
    if config.served_by_another() != settings().public_url:
        steps.insert(0, _how_to_serve())
    for number, step in enumerate(steps, 1):
        click.echo(f"  {number}. {step}")


def _counted(gone: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in gone.items())


def _how_to_serve() -> str:
    """The command that serves where the settings say."""
    port = urlsplit(settings().public_url).port
    elsewhere = f" --port {port}" if port and settings().public_url != config.USUAL_ADDRESS else ""
    return f"flask --app wsgi run{elsewhere}"


def _find(user: str) -> str:
    try:
        return people.find(settings(), user)
    except NotFound as no:
        raise click.ClickException(f"There is no user {user!r}. To look for one: flask --app wsgi users list --q TEXT") from no


def _language(number: str) -> str:
    """The first of our languages that is official in the country of this number; else that of the source."""
    official = get_official_languages(phones.country(number), de_facto=True)
    return next((language for language in official if language in messages.languages()), messages.languages()[0])


def _called(them: people.Profile) -> str:
    also = _shown(" ".join(part for part in (them.username, _name(them)) if part))
    return them.telephone_number + (f" ({also})" if also else "")


def _name(them: people.Profile) -> str:
    return f"{them.first_name} {them.last_name}".strip()


def _standing(them: people.Profile) -> str:
    return " ".join(word for word, holds in {"staff": them.is_staff, "blocked": them.blocked_at}.items() if holds)


def _use(key: token_keys.Key, every: list[token_keys.Key], now: datetime) -> str:
    if key == token_keys.signing(every):
        return "signs"
    if key.ends > now:
        return "signs next"
    return f"trusted until {_moment(key.ends + token_keys.BELIEVED)}" if key.is_believed(now) else "over"


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
