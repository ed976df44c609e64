"""`createsuperuser` and `users`: who is there, and what operators change about them."""

import json
from collections import Counter
from contextlib import suppress

import click

from hammer import clock
from hammer.cli.commands import Group, commands
from hammer.cli.output import described, full_name, minute, print_table, status
from hammer.db.pagination import MOST_PER_PAGE
from hammer.factors import staff
from hammer.login import test_numbers
from hammer.parsing import phones
from hammer.refusals import InvalidFields, NotFound, TelephoneNumberTaken
from hammer.sessions import sessions
from hammer.sms import messages
from hammer.users import accounts, people
from hammer.web.settings import settings


@commands.command()
@click.argument("phone")
def createsuperuser(phone: str) -> None:
    """Make a staff user of PHONE, or make its user staff."""
    try:
        user_id = people.find(settings(), phone)
        accounts.set_staff(settings(), user_id, True)
    except NotFound:
        user_id = accounts.create(settings(), phone, {}, is_staff=True)
    user = people.profile(settings(), user_id)
    click.echo(f"{described(user)} is staff now.")
    if user.blocked_at:
        click.echo(f"They are blocked. To unblock them: flask --app wsgi users block --undo {user.telephone_number}")
    where = "shown on the page" if settings().demo else "texted to it"
    click.echo(f"They sign in with this number and the code that is {where}: {settings().public_url}/login/")
    _print_enrolment(user_id)


@commands.group(cls=Group)
def users() -> None:
    """See and change users. USER is an id, a username, or a number in any spelling."""


@users.command("list")
@click.option("--q", metavar="TEXT", default="", help="Only those with TEXT in their number, name, username or invite code.")
@click.option("--limit", type=click.IntRange(1, MOST_PER_PAGE), default=MOST_PER_PAGE, show_default=True, help="Users per page.")
@click.option("--after", metavar="PLACE", help="Continue at the place that the last page ended with.")
@click.option("--ids", is_flag=True, help="Show their ids too.")
def list_users(q: str, limit: int, after: str | None, ids: bool) -> None:
    """List users in the order they joined."""
    try:
        page = people.everyone(settings(), q=q, limit=limit, after=after)
    except InvalidFields as no:
        raise click.ClickException("Unknown place. Copy it from the end of the last page.") from no
    if not page.items:
        click.echo("No user matches." if q else "There are no users.", err=True)
        return
    heads: tuple[str, ...] = ("NUMBER", "USERNAME", "NAME", "CODE", "INVITED", "JOINED (UTC)", "")
    rows: list[tuple[str, ...]] = [
        (u.telephone_number, u.username, full_name(u), u.invite_code, str(u.invite_count), minute(u.date_joined), status(u))
        for u in page.items
    ]
    if ids:
        heads, rows = ("ID", *heads), [(u.id, *row) for u, row in zip(page.items, rows, strict=True)]
    print_table(heads, rows)
    if page.after:
        click.echo(f"There are more. To continue, add: --after {page.after}", err=True)


@users.command()
@click.argument("user")
def show(user: str) -> None:
    """Show USER's profile and signed-in devices."""
    user_id = _find(user)
    profile = people.profile(settings(), user_id)
    is_for_tests = test_numbers.is_active(settings(), profile.telephone_number, clock.now())
    facts = {
        "id": profile.id,
        "number": phones.pretty(profile.telephone_number) + (", a test number" if is_for_tests else ""),
        "username": profile.username,
        "name": full_name(profile),
        "status": status(profile),
        "joined": minute(profile.date_joined),
        "invite code": f"{profile.invite_code}, {profile.invite_count} activated it",
        "activated": profile.activated_invite_code or "",
        "metadata": json.dumps(profile.metadata, ensure_ascii=False) if profile.metadata else "",
    }
    print_table((), ((f"{fact}:", value or "–") for fact, value in facts.items()))
    devices = sessions.devices(user_id)
    click.echo("\nSigned in nowhere." if not devices else "")
    if devices:
        rows = ((d.device, d.client or "–", minute(d.created_at), minute(d.seen_at), minute(d.expires_at)) for d in devices)
        print_table(("DEVICE", "CLIENT", "SINCE (UTC)", "LAST USED", "UNTIL"), rows)


@users.command()
@click.argument("user")
@click.option("--undo", is_flag=True, help="Make them an ordinary user again.")
def make_staff(user: str, undo: bool) -> None:
    """Let USER see and change others."""
    user_id = _find(user)
    accounts.set_staff(settings(), user_id, not undo)
    click.echo(f"{described(people.profile(settings(), user_id))} is {'not ' if undo else ''}staff now.")
    if not undo:
        _print_enrolment(user_id)


@users.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def reset_factor(user: str, yes: bool) -> None:
    """Remove the second factors of a staff USER.

    For a staff member who lost them; prints a link to set up new ones. Make sure that it is really them who asks: with the link and
    their number one can open the operator's pages.
    """
    user_id = _find(user)
    profile = people.profile(settings(), user_id)
    if not yes:
        click.confirm(f"Remove all second factors of {described(profile)}?", abort=True)
    try:
        token = staff.reset(settings(), user_id)
    except NotFound as no:
        raise click.ClickException(f"{described(profile)} is not staff, or is blocked.") from no
    click.echo(f"{described(profile)} has no second factor now, and is signed out of the operator's pages.")
    _print_link(token)


@users.command()
@click.argument("user")
@click.option("--undo", is_flag=True, help="Let them sign in again.")
def block(user: str, undo: bool) -> None:
    """Sign USER out everywhere and let them sign in no more."""
    user_id = _find(user)
    accounts.set_blocked(user_id, not undo)
    result = "may sign in again." if undo else "is blocked, and signed out everywhere."
    click.echo(f"{described(people.profile(settings(), user_id))} {result}")


@users.command()
@click.argument("user")
@click.option("--by-id", is_flag=True, help="USER is the id from the log line of a deletion.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(user: str, by_id: bool, yes: bool) -> None:
    """Delete USER for ever. Others' counts stay the same."""
    user_id = user if by_id else _find(user)
    profile = people.profile(settings(), user_id)
    if not yes:
        click.confirm(f"Delete {described(profile)}, who joined {minute(profile.date_joined)}, for ever?", abort=True)
    accounts.delete(settings(), user_id)
    click.echo(f"{described(profile)} is deleted.")


@users.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--language",
    type=click.Choice(messages.languages()),
    help="Of the text to OLD. The default is the language of its country, or English.",
)
@click.option("--sign-out", is_flag=True, help="End their sessions too. Without it they stay signed in: the person is the same.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def move(old: str, new: str, language: str | None, sign_out: bool, yes: bool) -> None:
    """Give the user of the number OLD another one.

    For example when a numbering plan has changed. The user signs in only with NEW from now on, and keeps everything else. OLD gets
    a text about it. Pending codes that were sent to OLD, and the devices known by it, are forgotten.
    """
    user_id = _find(old)
    profile = people.profile(settings(), user_id)
    number = phones.read(settings(), new)
    if number == profile.telephone_number:
        raise click.ClickException(f"{number} is their number already.")
    if not yes:
        click.confirm(f"Let {described(profile)} sign in only with {number} from now on?", abort=True)
    try:
        accounts.move(
            settings(), user_id, number, language=language or messages.language_of(profile.telephone_number), end_sessions=sign_out
        )
    except TelephoneNumberTaken as no:
        raise click.ClickException(
            f"There is a user with {number} already. To see them: flask --app wsgi users show {number}"
        ) from no
    click.echo(f"{number} is the number of {described(profile)} now. {profile.telephone_number} opens no account any more.")
    if not sign_out and sessions.devices(user_id):
        click.echo("They stay signed in on their devices. To end that too: --sign-out, or `users block` and then `--undo`.")


@users.command()
@click.option("--full", is_flag=True, help="Show whole numbers, as `users move` takes them.")
def unreadable(full: bool) -> None:
    """List stored numbers that are not valid any more.

    Their numbering plan has changed, so their owners cannot sign in. `users move` gives one user another number;
    HAMMER_EXTRA_RANGES accepts a range of numbers.
    """
    total, plans = 0, Counter[str]()
    for total, found in enumerate(people.unreadable(settings()), 1):  # noqa: B007  # the total is printed below
        if found:
            number = found.telephone_number if full else phones.masked(found.telephone_number)
            plans[phones.plan_of(found.telephone_number)] += 1
            click.echo(f"{number}  {minute(found.date_joined)}")
    for plan, count in sorted(plans.items()):
        click.echo(f"{plan}: {count}", err=True)
    click.echo(f"{plans.total()} of {total} stored numbers are no mobile numbers any more.", err=True)


def _print_enrolment(user_id: str) -> None:
    """Prints a link to set up a second factor, for staff who have none and are not blocked."""
    if staff.factors(user_id).enrolled:
        click.echo("They keep their second factor. If it is lost: flask --app wsgi users reset-factor")
        return
    with suppress(NotFound):
        _print_link(staff.allow_enrolment(settings(), user_id))


def _print_link(token: str) -> None:
    click.echo("To open the operator's pages they set up a second factor first, once within 24 hours, with this link:")
    click.echo(f"{settings().public_url}/admin/enrol/{token}/")


def _find(user: str) -> str:
    try:
        return people.find(settings(), user)
    except NotFound as no:
        raise click.ClickException(f"There is no user {user!r}. To search: flask --app wsgi users list --q TEXT") from no
